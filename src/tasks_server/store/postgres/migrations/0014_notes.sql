-- What handlers note while they run, sealed. Of an attempt whose end was told, the attempt itself has it.

CREATE TABLE note (
    task bigint NOT NULL,
    number integer NOT NULL,
    sealed bytea NOT NULL,
    PRIMARY KEY (task, number)
) WITH (fillfactor = 70);
