-- name: partition_exists
-- Whether a table of this name is attached already.
SELECT EXISTS (
    SELECT FROM pg_inherits
    WHERE inhparent = 'quiz_submission_events'::regclass AND inhrelid = to_regclass($1)
)

-- name: attached
-- The partitions that rows can be put into.
SELECT relname AS name
FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
WHERE inhparent = 'quiz_submission_events'::regclass AND NOT inhdetachpending

-- name: detach_pending
-- Whether a partition takes no rows any more, but is still in the way of another for the same month.
SELECT EXISTS (
    SELECT FROM pg_inherits
    WHERE inhparent = 'quiz_submission_events'::regclass AND inhrelid = to_regclass($1) AND inhdetachpending
)
