-- Which of these tasks are the owner's and come after :after.
SELECT json_group_array(t.seq)
FROM json_each(:ids) AS i
CROSS JOIN task AS t ON t.id = i.value
WHERE t.owner = :owner AND t.seq > :after AND t.seq <= :until
