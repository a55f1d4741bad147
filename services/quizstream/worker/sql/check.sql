-- name: server
-- The server's clock, whether it takes writes and keeps them, and whether the tables are there.
SELECT
    extract(epoch FROM clock_timestamp())::float8 AS seconds,
    current_setting('fsync')::boolean AS fsync,
    pg_is_in_recovery() AS in_recovery,
    (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS superuser,
    to_regclass('schema_migrations') IS NOT NULL AND to_regclass('quiz_submission_events') IS NOT NULL AS has_schema

-- name: may
-- Whether the account has a right to a table, or to some of its columns.
SELECT coalesce(
    CASE WHEN $2 = 'DELETE' THEN has_table_privilege($1, $2) ELSE has_any_column_privilege($1, $2) END, false
)

-- name: owns_events
-- Only owners drop months.
SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = 'quiz_submission_events'::regclass

-- name: may_make_months
-- Through the function, or as the owner; false where it is missing.
SELECT coalesce(has_function_privilege(to_regprocedure('make_month(date)')::oid, 'EXECUTE'), false)

-- name: applied
-- What `migrate` has done.
SELECT name FROM schema_migrations
