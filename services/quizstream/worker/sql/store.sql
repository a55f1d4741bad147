-- name: add_offsets
-- First sight of a partition: it begins where its log begins.
INSERT INTO topic_offsets (topic, partition, next_offset)
SELECT * FROM unnest($1::text[], $2::int[], $3::bigint[])
ON CONFLICT DO NOTHING

-- name: read_offsets
-- Where the partitions stand, for seeking; the flush reads again under lock.
SELECT topic, partition, next_offset, last_appended_at_ms, id_base
FROM topic_offsets
WHERE (topic, partition) IN (SELECT * FROM unnest($1::text[], $2::int[]))

-- name: lock_offsets
-- The fence: who holds these rows writes these partitions. Locked in one order, so that two workers cannot deadlock.
SELECT topic, partition, next_offset, id_base
FROM topic_offsets
WHERE (topic, partition) IN (SELECT * FROM unnest($1::text[], $2::int[]))
ORDER BY topic, partition
FOR UPDATE

-- name: advance_offsets
-- In the transaction of the rows: either both are there or neither.
UPDATE topic_offsets AS stored
SET next_offset = written.next_offset, last_appended_at_ms = written.last_appended_at_ms
FROM unnest($1::text[], $2::int[], $3::bigint[], $4::bigint[])
    AS written (topic, partition, next_offset, last_appended_at_ms)
WHERE (stored.topic, stored.partition) = (written.topic, written.partition)

-- name: end_holders
-- A worker stopped inside COPY keeps its locks whatever the time-outs; only ending its session frees them.
SELECT pid, pg_terminate_backend(pid) AS ended
FROM pg_stat_activity
WHERE pid = ANY (pg_blocking_pids($1)) AND application_name = $2

-- name: latest_attempts
-- The attempt that an event without one belongs to.
SELECT submission_id, latest_attempt FROM submissions WHERE submission_id = ANY ($1::bigint[])

-- name: raise_attempts
-- Written only for submissions whose latest attempt grew; never lowers it.
INSERT INTO submissions (submission_id, latest_attempt)
SELECT * FROM unnest($1::bigint[], $2::int[])
ON CONFLICT (submission_id) DO UPDATE
SET latest_attempt = excluded.latest_attempt
WHERE submissions.latest_attempt < excluded.latest_attempt

-- name: known_events
-- Events whose time depends on the receipt are not caught by the primary key: two deliveries have two times.
SELECT submission_id, event_id
FROM quiz_submission_events
WHERE submission_id = ANY ($1::bigint[]) AND event_id = ANY ($2::uuid[])

-- name: make_incoming
-- What the merge path copies into, once per connection. With defaults: a later version may have added columns.
CREATE TEMPORARY TABLE IF NOT EXISTS incoming_events (LIKE quiz_submission_events INCLUDING DEFAULTS)
ON COMMIT DELETE ROWS

-- name: merge_incoming
-- Stores those that are not stored yet.
INSERT INTO quiz_submission_events SELECT * FROM incoming_events ON CONFLICT DO NOTHING

-- name: clear_incoming
-- For the next part of a flush that is written in parts.
DELETE FROM incoming_events

-- name: quarantine
-- Once per element, however often it arrives.
INSERT INTO quarantined_events (
    quarantine_id, submission_id, course_id, quiz_id, attempt, actor, received_at, reason, sqlstate, element_index,
    topic, partition, record_offset, raw_kind, raw
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
ON CONFLICT DO NOTHING

-- name: mark_stored
-- Their events are rows now; the payload need not be kept twice.
UPDATE quarantined_events SET stored_at = now(), raw = ''
WHERE quarantine_id = ANY ($1::uuid[]) AND stored_at IS NULL

-- name: mark_refused_again
-- A replay that the database did not take: the row is as it was, with the newest reason.
UPDATE quarantined_events SET replayed_at = NULL, reason = 'database_refused', sqlstate = $2
WHERE quarantine_id = $1 AND stored_at IS NULL

-- name: largest_id
-- The base that ids of a topic made anew are put above.
SELECT coalesce(max(id), 0) FROM quiz_submission_events

-- name: adopt_topic
-- A topic made anew begins at the start of its log, and its ids above all that there are.
UPDATE topic_offsets SET next_offset = 0, last_appended_at_ms = NULL, id_base = $2
WHERE topic = ANY ($1::text[])
