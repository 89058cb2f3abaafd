SELECT sealed, count(*) FROM (
    SELECT substr(spec, 2, 4) AS sealed FROM request
    UNION ALL SELECT substr(response, 2, 4) FROM attempt WHERE response IS NOT NULL
    UNION ALL SELECT substr(facts, 2, 4) FROM attempt WHERE facts IS NOT NULL
    UNION ALL SELECT substr(sealed, 2, 4) FROM note
    UNION ALL SELECT substr(secret, 2, 4) FROM signing_secret
    UNION ALL SELECT substr(template, 2, 4) FROM schedule
    UNION ALL SELECT unhex(substr(error, 10, 8)) FROM task WHERE unhex(substr(error, 8)) IS NOT NULL AND error GLOB 'sealed:*'
    UNION ALL SELECT substr(digest, 2, 4) FROM idempotency WHERE length(digest) > 32
    UNION ALL SELECT substr(callbacks, 2, 4) FROM owner WHERE callbacks IS NOT NULL
    UNION ALL SELECT substr(callbacks, 2, 4) FROM lane WHERE callbacks IS NOT NULL
    UNION ALL SELECT substr(value, 2, 4) FROM meta WHERE name = 'canary'
) GROUP BY sealed
