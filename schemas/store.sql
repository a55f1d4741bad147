-- The tables of the store as `quizstream migrate` leaves them, for those who query or export them. A test compares this
-- file with the migrations; it is not run by anything else. Who may do what: services/quizstream/worker/sql/rights.sql.

CREATE TABLE schema_migrations (
    name       text        PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE quiz_submission_events (
    id               bigint      NOT NULL,
    submission_id    bigint      NOT NULL,
    course_id        bigint      NOT NULL,
    quiz_id          bigint      NOT NULL,
    attempt          integer     NOT NULL,
    event_id         uuid        NOT NULL,
    event_type       text        NOT NULL,
    client_timestamp text,
    occurred_at      timestamptz NOT NULL,
    received_at      timestamptz NOT NULL,
    actor            text,
    event_data       json        NOT NULL,
    PRIMARY KEY (submission_id, occurred_at, event_id),
    CONSTRAINT quiz_submission_events_type_length CHECK (char_length(event_type) BETWEEN 1 AND 255),
    CONSTRAINT quiz_submission_events_attempt_range CHECK (attempt BETWEEN 1 AND 10000)
) PARTITION BY RANGE (occurred_at);

COMMENT ON TABLE quiz_submission_events IS 'One row per stored event; partitions by month of occurred_at (UTC)';
COMMENT ON COLUMN quiz_submission_events.id IS
    'offset * 4096 + partition of its record, above the base of its topic: ascending per submission, the same after replay and restore';
COMMENT ON COLUMN quiz_submission_events.event_data IS 'json, never jsonb: the text that was sent';

-- Its partitions: quiz_submission_events_first from MINVALUE to the month before the installation, then one for each
-- month of occurred_at (UTC), 12 ahead. There is no default partition.

CREATE TABLE submissions (
    submission_id  bigint  PRIMARY KEY,
    latest_attempt integer NOT NULL CHECK (latest_attempt BETWEEN 1 AND 10000)
);

COMMENT ON TABLE submissions IS 'The highest attempt seen for each submission; only ever raised';

CREATE TABLE quarantined_events (
    quarantine_id  uuid        PRIMARY KEY,
    submission_id  bigint,
    course_id      bigint,
    quiz_id        bigint,
    attempt        integer,
    actor          text,
    received_at    timestamptz NOT NULL,
    quarantined_at timestamptz NOT NULL DEFAULT now(),
    reason         text        NOT NULL,
    sqlstate       text,
    element_index  integer,
    topic          text        NOT NULL,
    partition      integer     NOT NULL,
    record_offset  bigint      NOT NULL,
    raw_kind       text        NOT NULL CHECK (raw_kind IN ('element', 'record')),
    raw            bytea       NOT NULL,
    replayed_at    timestamptz,
    stored_at      timestamptz
);

COMMENT ON TABLE quarantined_events IS 'What could not be stored as an event, with the reason and what was sent';
COMMENT ON COLUMN quarantined_events.raw IS
    'raw_kind element: the JSON text of the element as sent; record: the value of its record';

COMMENT ON COLUMN quarantined_events.replayed_at IS
    'When it was last sent through the topic again and neither stored nor refused since';
COMMENT ON COLUMN quarantined_events.stored_at IS
    'When its event was stored after a replay. The row stays, without raw, so that a late delivery is not quarantined anew';

CREATE INDEX quarantined_events_by_submission ON quarantined_events (submission_id);
CREATE INDEX quarantined_events_by_time ON quarantined_events (quarantined_at) WHERE stored_at IS NULL;
CREATE INDEX quarantined_events_by_reason ON quarantined_events (reason, quarantined_at) WHERE stored_at IS NULL;

CREATE TABLE retention_holds (
    course_id bigint      PRIMARY KEY,
    reason    text        NOT NULL,
    since     timestamptz NOT NULL DEFAULT now()
);

COMMENT ON TABLE retention_holds IS 'Courses of which retention removes nothing';

CREATE TABLE topic_offsets (
    topic                text    NOT NULL,
    partition            integer NOT NULL,
    next_offset          bigint  NOT NULL CHECK (next_offset >= 0),
    last_appended_at_ms  bigint,
    id_base              bigint  NOT NULL DEFAULT 0,
    PRIMARY KEY (topic, partition)
);

COMMENT ON TABLE topic_offsets IS 'The next record to be stored of each partition; written with the rows, and the fence between workers';
COMMENT ON COLUMN topic_offsets.last_appended_at_ms IS
    'LogAppendTime of record next_offset - 1: another time there means another log';
COMMENT ON COLUMN topic_offsets.id_base IS 'Added to ids: above the largest id of the topic that this one followed';

CREATE FUNCTION make_month(first_day date) RETURNS boolean
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path TO public, pg_temp
SET lock_timeout TO '3s'
AS $function$
DECLARE
    month date := date_trunc('month', first_day::timestamp);
    partition text := 'quiz_submission_events_' || to_char(month, 'YYYY_MM');
BEGIN
    IF month > (now() AT TIME ZONE 'UTC') + interval '13 months' THEN
        RAISE EXCEPTION 'months are made at most 13 ahead' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF EXISTS (
        SELECT FROM pg_inherits
        WHERE inhparent = 'quiz_submission_events'::regclass AND inhrelid = to_regclass(partition)
    ) THEN
        RETURN false;
    END IF;
    -- LIKE and ATTACH take no lock that readers or writers of the table wait for; CREATE .. PARTITION OF does.
    EXECUTE format('CREATE TABLE %I (LIKE quiz_submission_events INCLUDING ALL)', partition);
    EXECUTE format(
        'ALTER TABLE quiz_submission_events ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
        partition,
        month || ' 00:00:00+00',
        (month + interval '1 month')::date || ' 00:00:00+00'
    );
    RETURN true;
EXCEPTION
    WHEN duplicate_table OR unique_violation THEN
        RETURN false; -- somebody else was quicker, or an operator has detached it
    WHEN invalid_object_definition THEN
        -- The first partition covers this month, or its old one hangs between the two steps of its detach.
        IF NOT EXISTS (
            SELECT FROM pg_inherits
            WHERE inhparent = 'quiz_submission_events'::regclass
                AND inhrelid = to_regclass(partition || '_retired') AND inhdetachpending
        ) THEN
            RETURN false;
        END IF;
        BEGIN
            EXECUTE format(
                'ALTER TABLE quiz_submission_events DETACH PARTITION %I FINALIZE', partition || '_retired'
            );
        EXCEPTION
            WHEN lock_not_available THEN
                RETURN false; -- somebody has been reading it since before: events must not wait for that
            WHEN undefined_table OR object_not_in_prerequisite_state THEN
                NULL; -- whoever began it has just finished it
        END;
        RETURN make_month(first_day);
END
$function$;

COMMENT ON FUNCTION make_month(date) IS 'Makes the partition of a month, at most 13 ahead; false where there is one';
REVOKE ALL ON FUNCTION make_month(date) FROM PUBLIC;
