-- What handlers note while they run, sealed. Of an attempt whose end was told, the attempt itself has it.

CREATE TABLE note (
    task INTEGER NOT NULL,
    number INTEGER NOT NULL,
    sealed BLOB NOT NULL,
    PRIMARY KEY (task, number)
) STRICT, WITHOUT ROWID;
