-- Holds those of these schedules whose turn it is still, and that nobody else has in hand.
SELECT seq, owner, facts, template FROM schedule
WHERE seq IN (SELECT jsonb_array_elements_text(%(seqs)s::jsonb)::bigint) AND look_at <= %(horizon)s::bigint
ORDER BY look_at, seq
FOR NO KEY UPDATE SKIP LOCKED
