DELETE FROM idempotency WHERE owner IN (SELECT value FROM json_each(:owners))
