-- For servers where the account of `quizstream migrate` may not make roles: run this once as one that may, then
-- `quizstream migrate` again, which gives them their rights. Safe to repeat.
--
--     psql "$ADMIN_URL" -v ON_ERROR_STOP=1 -f deploy/roles.sql

DO $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY['quizstream_writer', 'quizstream_reader', 'quizstream_operator'] LOOP
        IF to_regrole(role) IS NULL THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', role);
        END IF;
    END LOOP;
END
$$;

-- Accounts are yours to make, for example:
--
--     CREATE ROLE quizstream_worker LOGIN PASSWORD '...' IN ROLE quizstream_writer;
--     CREATE ROLE quizstream_read   LOGIN PASSWORD '...' IN ROLE quizstream_reader;
--     ALTER ROLE quizstream_read SET default_transaction_read_only = on;
--     CREATE ROLE quizstream_tools  LOGIN PASSWORD '...' IN ROLE quizstream_operator;
--
-- All workers share one account: a worker ends the session of another that holds its partitions, which PostgreSQL
-- allows among equals. Where several databases share a server, keep each account to its own:
--
--     REVOKE CONNECT, TEMPORARY ON DATABASE quizstream FROM PUBLIC;
--     GRANT CONNECT ON DATABASE quizstream TO quizstream_worker, quizstream_read, quizstream_tools;
--     GRANT TEMPORARY ON DATABASE quizstream TO quizstream_worker;
