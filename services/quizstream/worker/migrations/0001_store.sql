-- The store: events by month, the latest attempt of each submission, quarantine, and where each partition of the topics stands.

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

-- Events older than the month before this installation share one partition, which retention cleans by received_at.
-- The months from then on are made by `migrate` and kept 12 ahead by the worker.
DO $$
BEGIN
    EXECUTE format(
        'CREATE TABLE quiz_submission_events_first PARTITION OF quiz_submission_events FOR VALUES FROM (MINVALUE) TO (%L)',
        date_trunc('month', now() AT TIME ZONE 'UTC') - interval '1 month' || '+00'
    );
END
$$;

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
    raw            bytea       NOT NULL
);

COMMENT ON TABLE quarantined_events IS 'What could not be stored as an event, with the reason and what was sent';
COMMENT ON COLUMN quarantined_events.raw IS
    'raw_kind element: the JSON text of the element as sent; record: the value of its record';

CREATE INDEX quarantined_events_by_submission ON quarantined_events (submission_id);

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
