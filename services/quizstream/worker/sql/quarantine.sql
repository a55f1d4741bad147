-- name: find
-- What is in quarantine and fits, the newest first; no payload. Parameters that are NULL do not restrict.
SELECT quarantine_id, quarantined_at, received_at, reason, sqlstate, course_id, quiz_id, submission_id, attempt, actor,
    element_index, topic, partition, record_offset, raw_kind, octet_length(raw) AS raw_bytes, replayed_at, stored_at
FROM quarantined_events
WHERE stored_at IS NULL
    AND ($1::uuid[] IS NULL OR quarantine_id = ANY ($1))
    AND ($2::text IS NULL OR reason = $2)
    AND ($3::bigint IS NULL OR course_id = $3)
    AND ($4::bigint IS NULL OR submission_id = $4)
    AND ($5::timestamptz IS NULL OR quarantined_at >= $5)
    AND ($6::timestamptz IS NULL OR quarantined_at < $6)
ORDER BY quarantined_at DESC, quarantine_id
LIMIT $7

-- name: describe
-- One of them, also where its event has been stored.
SELECT quarantine_id, quarantined_at, received_at, reason, sqlstate, course_id, quiz_id, submission_id, attempt, actor,
    element_index, topic, partition, record_offset, raw_kind, octet_length(raw) AS raw_bytes, replayed_at, stored_at
FROM quarantined_events
WHERE quarantine_id = $1

-- name: raw
-- The payload of some that are still in quarantine.
SELECT quarantine_id, raw FROM quarantined_events WHERE quarantine_id = ANY ($1::uuid[]) AND stored_at IS NULL

-- name: mark_replayed
-- Before they are sent: a worker that refuses one again clears it.
UPDATE quarantined_events SET replayed_at = now() WHERE quarantine_id = ANY ($1::uuid[]) AND stored_at IS NULL

-- name: drop
-- Not those of courses that are held.
DELETE FROM quarantined_events AS dropped
WHERE quarantine_id = ANY ($1::uuid[])
    AND stored_at IS NULL
    AND NOT EXISTS (SELECT FROM retention_holds AS held WHERE held.course_id = dropped.course_id)
