-- Holds an owner until the transaction ends: who changes its keys, its secrets or its life does so alone.
SELECT seq FROM owner WHERE id = %(id)s AND deleted_at IS NULL FOR NO KEY UPDATE
