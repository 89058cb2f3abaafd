DELETE FROM lane_bucket
WHERE lane IN (SELECT seq FROM lane WHERE owner IN (SELECT value FROM json_each(:owners)))
