-- Which of these tasks are the owner's and come after that handle.
SELECT r.task
FROM jsonb_array_elements_text(%(ids)s::jsonb) AS i
JOIN request AS r ON r.id = i COLLATE "C"
WHERE r.owner = %(owner)s::integer AND r.task > %(after)s::bigint AND r.task <= %(until)s::bigint
