-- How many steps of bulk work could not be done, one after the other.

ALTER TABLE bulk ADD COLUMN failures integer NOT NULL DEFAULT 0;
