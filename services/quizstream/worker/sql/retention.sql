-- name: only_one
-- One worker at a time removes; the others leave it to that one. Held until the session ends.
SELECT pg_try_advisory_lock($1)

-- name: partitions
-- Those of the events, and those that an earlier run had begun to drop: attached, being detached, or detached. These
-- come first, as PostgreSQL detaches one at a time.
SELECT table_.relname AS name, tie.inhrelid IS NOT NULL AS attached, coalesce(tie.inhdetachpending, false) AS pending
FROM pg_class AS parent
JOIN pg_class AS table_ ON table_.relnamespace = parent.relnamespace AND table_.relkind = 'r'
LEFT JOIN pg_inherits AS tie ON tie.inhrelid = table_.oid AND tie.inhparent = parent.oid
WHERE parent.oid = 'quiz_submission_events'::regclass
    AND table_.relname ~ '^quiz_submission_events_(first|[0-9]{4}_[0-9]{2}(_retired)?)$'
ORDER BY pending DESC, table_.relname LIKE '%\_retired' DESC, table_.relname

-- name: pages
-- How many pages there are to walk.
SELECT pg_relation_size(to_regclass($1)) / current_setting('block_size')::bigint

-- name: lock_holds
-- Who holds a course waits until this transaction is over: from then on nothing more of the course is removed.
LOCK TABLE retention_holds IN SHARE MODE

-- name: has_kept
-- Whether some pages hold rows that must stay: received since, or of a course that is held.
SELECT EXISTS (
    SELECT FROM one_partition AS event
    WHERE ctid >= $1::tid AND ctid < $2::tid
        AND (received_at >= $3 OR EXISTS (SELECT FROM retention_holds AS held WHERE held.course_id = event.course_id))
)

-- name: remove_events
-- The rows of some pages that need not stay.
DELETE FROM one_partition AS event
WHERE ctid >= $1::tid AND ctid < $2::tid
    AND received_at < $3
    AND NOT EXISTS (SELECT FROM retention_holds AS held WHERE held.course_id = event.course_id)

-- name: remove_quarantined
-- As above; while any course is held, what names no course stays too, as it may be of that one.
DELETE FROM quarantined_events AS event
WHERE ctid >= $1::tid AND ctid < $2::tid
    AND received_at < $3
    AND NOT EXISTS (
        SELECT FROM retention_holds AS held WHERE event.course_id IS NULL OR held.course_id = event.course_id
    )

-- name: move_kept
-- What came, or was held, after the month was found to hold nothing that must stay.
INSERT INTO quiz_submission_events (all_columns)
SELECT all_columns FROM one_partition AS event
WHERE received_at >= $1 OR EXISTS (SELECT FROM retention_holds AS held WHERE held.course_id = event.course_id)
ON CONFLICT DO NOTHING

-- name: hold
-- Again: with another reason.
INSERT INTO retention_holds (course_id, reason) VALUES ($1, $2)
ON CONFLICT (course_id) DO UPDATE SET reason = excluded.reason

-- name: release
-- Retention applies to the course again.
DELETE FROM retention_holds WHERE course_id = $1

-- name: holds
-- The courses that are held.
SELECT course_id, reason, since FROM retention_holds ORDER BY since, course_id

-- name: remove_canary_events
-- Some of those that canaries left; $1 is the first of their submissions, which are the last there are.
DELETE FROM quiz_submission_events
WHERE (submission_id, occurred_at, event_id) IN (
    SELECT submission_id, occurred_at, event_id FROM quiz_submission_events
    WHERE submission_id >= $1 AND received_at < $2
    LIMIT $3
)

-- name: remove_canary_quarantine
-- As above.
DELETE FROM quarantined_events
WHERE quarantine_id IN (
    SELECT quarantine_id FROM quarantined_events WHERE submission_id >= $1 AND received_at < $2 LIMIT $3
)
