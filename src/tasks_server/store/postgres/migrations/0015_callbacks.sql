-- What is called when tasks have ended: as lanes and owners ask for it, sealed; and of which task's end a callback tells.

ALTER TABLE owner ADD COLUMN callbacks bytea;
ALTER TABLE lane ADD COLUMN callbacks bytea;

-- Whether anybody asks for callbacks is looked at with each end.
CREATE INDEX owner_callbacks ON owner (seq) WHERE callbacks IS NOT NULL;
CREATE INDEX lane_callbacks ON lane (owner) WHERE callbacks IS NOT NULL;

CREATE TABLE callback (
    task bigint PRIMARY KEY,
    source text NOT NULL                    -- its id: the task may be gone
);
