-- name: role_exists
-- Roles belong to the server, not to the database.
SELECT to_regrole($1) IS NOT NULL

-- name: role_may_use_schema
-- On most servers everybody may.
SELECT has_schema_privilege($1, current_schema(), 'USAGE')

-- name: writer
-- What a worker does: events only ever come, attempts only ever grow; of quarantine it reads no payload.
GRANT SELECT, INSERT ON quiz_submission_events TO quizstream_writer;
GRANT SELECT, INSERT, UPDATE (latest_attempt) ON submissions TO quizstream_writer;
GRANT SELECT, INSERT, UPDATE (next_offset, last_appended_at_ms) ON topic_offsets TO quizstream_writer;
GRANT INSERT, SELECT (quarantine_id, stored_at), UPDATE (reason, sqlstate, raw, replayed_at, stored_at)
    ON quarantined_events TO quizstream_writer;
GRANT SELECT ON schema_migrations TO quizstream_writer;
GRANT EXECUTE ON FUNCTION make_month(date) TO quizstream_writer;

-- name: reader
-- What a reader shows.
GRANT SELECT ON quiz_submission_events, submissions, schema_migrations TO quizstream_reader;

-- name: operator
-- What the commands `quarantine` and `retention` do.
GRANT SELECT, DELETE, UPDATE (replayed_at) ON quarantined_events TO quizstream_operator;
GRANT SELECT, INSERT, UPDATE (reason), DELETE ON retention_holds TO quizstream_operator;
GRANT SELECT ON schema_migrations TO quizstream_operator;
