-- What is called when tasks have ended: as lanes and owners ask for it, sealed; and of which task's end a callback tells.

ALTER TABLE owner ADD COLUMN callbacks BLOB;
ALTER TABLE lane ADD COLUMN callbacks BLOB;

-- Whether anybody asks for callbacks is looked at with each batch of ends.
CREATE INDEX owner_callbacks ON owner (seq) WHERE callbacks IS NOT NULL;
CREATE INDEX lane_callbacks ON lane (seq) WHERE callbacks IS NOT NULL;

CREATE TABLE callback (
    task INTEGER PRIMARY KEY,
    source TEXT NOT NULL                    -- its id: the task may be gone
) STRICT;
