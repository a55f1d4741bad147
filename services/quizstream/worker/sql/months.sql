-- name: make_month
-- Whether a partition was made; the function runs as the owner of the tables.
SELECT make_month($1)

-- name: attached
-- The partitions that rows can be put into.
SELECT relname AS name
FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
WHERE inhparent = 'quiz_submission_events'::regclass AND NOT inhdetachpending
