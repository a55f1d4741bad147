-- name: position
-- How far a server is in the log of changes, in bytes: of its own, or of the one that it follows.
SELECT coalesce(
    CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END - '0/0'::pg_lsn, 0
)::bigint;

-- name: short_log
-- A whole log in one scan, where it is one page of at most 1,000 events of at most 2,097 bytes each, hence within 2 MiB:
-- what teachers read of most attempts. Otherwise `body` is null, and the page has to be planned. Carrying the payloads
-- until it is known whether they are wanted would cost more than rendering some in vain.
-- $1 submission, $2 course, $3 quiz, $4 attempt or null for the latest, $5 largest id to be seen, $6 events of the page,
-- $7 to $9 whether client_timestamp, received_at, attempt are shown. Sizes and rendering as in the statements below.
WITH asked AS (
    SELECT coalesce($4::integer, (SELECT latest_attempt FROM submissions WHERE submission_id = $1)) AS attempt
), few AS (
    SELECT
        id,
        attempt,
        event_type,
        event_data,
        client_timestamp,
        occurred_at,
        received_at,
        CASE WHEN occurred_at > received_at + interval '5 minutes' THEN received_at ELSE occurred_at END AS created_at,
        pg_column_compression(event_data) IS NULL
            AND pg_column_size(event_data)
                + 6 * octet_length(event_type)
                + CASE WHEN $7::boolean THEN 6 * coalesce(octet_length(client_timestamp), 0) ELSE 0 END
                + 200 <= 2097 AS is_small
    FROM quiz_submission_events
    WHERE submission_id = $1 AND course_id = $2 AND quiz_id = $3 AND attempt = (SELECT attempt FROM asked) AND id <= $5
    LIMIT least($6::bigint, 1000) + 1
), log AS (
    SELECT
        count(*) AS events_in_log,
        max(id) AS last_id,
        max(created_at) AS created_until,
        max(occurred_at) AS occurred_until,
        count(*) <= least($6::bigint, 1000) AND coalesce(bool_and(is_small), true) AS is_short,
        string_agg(
            CASE WHEN is_small THEN concat(
                '{"id":"', id,
                '","event_type":', to_json(event_type),
                ',"event_data":', event_data,
                ',"created_at":', left(to_json(created_at AT TIME ZONE 'UTC')::text, 20), 'Z"',
                CASE WHEN $7::boolean THEN ',"client_timestamp":' || coalesce(to_json(client_timestamp)::text, 'null')
                END,
                CASE WHEN $8::boolean THEN ',"received_at":"'
                    || to_char(received_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') || '"' END,
                CASE WHEN $9::boolean THEN ',"attempt":' || attempt END,
                '}'
            ) END,
            ',' ORDER BY created_at, id
        ) AS body
    FROM few
)
SELECT
    attempt,
    events_in_log,
    last_id,
    created_until,
    occurred_until,
    CASE WHEN is_short THEN convert_to(coalesce(body, ''), 'UTF8') END AS body
FROM asked CROSS JOIN log;

-- name: plan_page
-- What a page shows: the attempt, the size and largest id of its log, and the page cut into rounds of bounded memory.
-- $1 submission, $2 course, $3 quiz, $4 attempt or null for the latest, $5 largest id to be seen, $6 events before the
-- page, $7 events of the page, $8 whether client timestamps are shown.
--
-- One scan gives keys and sizes. A size is an upper bound of the bytes that the event takes in an answer: asking for
-- the length of a compressed value would decompress it, and a page full of them could not be planned in time, so the
-- greatest ratio of its method is assumed (pglz: 8 matches of 273 bytes in 25 bytes; lz4: 255). Escaping makes up to
-- six bytes of one; names, id and times take less than 200. How much more than 4 MiB one event has does not matter.
--
-- Rounds have at most 2,000 events. Those that begin within the same 2 MiB of the page share one, and an event of more
-- than 2 MiB is alone or the only one: hence at most 4 MiB, or one event. The event before the page is a round of its
-- own, the first, where there is one: its key is where the page begins. A page that is a whole log and fits into one
-- round, as most do, is not numbered: the branch that would cut it is then not run at all (a one-time filter).
WITH asked AS (
    SELECT coalesce($4::integer, (SELECT latest_attempt FROM submissions WHERE submission_id = $1)) AS attempt
), keys AS MATERIALIZED (
    SELECT
        id,
        occurred_at,
        CASE WHEN occurred_at > received_at + interval '5 minutes' THEN received_at ELSE occurred_at END AS created_at,
        least(
            pg_column_size(event_data)::bigint
                * CASE pg_column_compression(event_data) WHEN 'pglz' THEN 88 WHEN 'lz4' THEN 255 ELSE 1 END
            + 6 * octet_length(event_type)
            + CASE WHEN $8::boolean THEN 6 * coalesce(octet_length(client_timestamp), 0)::bigint ELSE 0 END
            + 200,
            4194304
        )::integer AS bytes
    FROM quiz_submission_events
    WHERE submission_id = $1 AND course_id = $2 AND quiz_id = $3 AND attempt = (SELECT attempt FROM asked) AND id <= $5
), log AS (
    SELECT
        count(*) AS events_in_log,
        max(id) AS last_id,
        max(created_at) AS created_until,
        max(occurred_at) AS occurred_until,
        $6::bigint = 0 AND count(*) BETWEEN 1 AND least($7::bigint, 2000) AND sum(bytes) <= 2097152 AS is_one_round
    FROM keys
), page AS (
    SELECT id, occurred_at, created_at, bytes
    FROM keys
    WHERE NOT (SELECT is_one_round FROM log)
    ORDER BY created_at, id
    OFFSET greatest($6::bigint - 1, 0)
    LIMIT $7::bigint + ($6::bigint > 0)::integer
), numbered AS (
    SELECT
        id,
        occurred_at,
        created_at,
        bytes,
        row_number() OVER earlier - ($6::bigint > 0)::integer AS number,
        sum(bytes) OVER earlier - bytes AS bytes_before
    FROM page
    WINDOW earlier AS (ORDER BY created_at, id ROWS UNBOUNDED PRECEDING)
), rounds AS (
    SELECT
        min(number) AS first_number,
        count(*) AS events,
        max(id) AS largest_id,
        max(created_at) AS created_until,
        max(occurred_at) AS occurred_until
    FROM numbered
    GROUP BY (number + 1999) / 2000, bytes_before / 2097152, bytes > 2097152
    UNION ALL
    SELECT 1, events_in_log, last_id, created_until, occurred_until FROM log WHERE is_one_round
)
SELECT attempt, events_in_log, last_id, events, largest_id, rounds.created_until, rounds.occurred_until
FROM asked CROSS JOIN log LEFT JOIN rounds ON true
ORDER BY first_number;

-- name: render_round
-- The events of one round as JSON text, their number, and the id of the last one.
-- $1 submission, $2 course, $3 quiz, $4 attempt, $5 largest id to be seen, $6 and $7 key (created_at, id) after which
-- the round begins, $8 number of its events, $9 created_at of its last, $10 greatest occurred_at in it, $11 to $13
-- whether client_timestamp, received_at, attempt are shown.
--
-- created_at is never after occurred_at, so that the primary key bounds the scan on both sides. It has whole seconds:
-- the first 20 characters, of which one is a quotation mark, of ISO 8601 as to_json writes it, at half the price of
-- to_char. concat() joins in one pass, and leaves out what is null. Rendering here costs
-- PostgreSQL 0.35 us an event and saves the reader 1.8: its rows would have to be decoded and written again.
SELECT
    count(*) AS events,
    max(id) FILTER (WHERE created_at = $9) AS last_id,
    convert_to(
        string_agg(
            concat(
                '{"id":"', id,
                '","event_type":', to_json(event_type),
                ',"event_data":', event_data,
                ',"created_at":', left(to_json(created_at AT TIME ZONE 'UTC')::text, 20), 'Z"',
                CASE WHEN $11::boolean THEN ',"client_timestamp":' || coalesce(to_json(client_timestamp)::text, 'null')
                END,
                CASE WHEN $12::boolean THEN ',"received_at":"'
                    || to_char(received_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') || '"' END,
                CASE WHEN $13::boolean THEN ',"attempt":' || attempt END,
                '}'
            ),
            ',' ORDER BY created_at, id
        ),
        'UTF8'
    ) AS body
FROM (
    SELECT id, attempt, event_type, event_data, client_timestamp, received_at, created_at
    FROM (
        SELECT
            id, submission_id, course_id, quiz_id, attempt, event_type, event_data, client_timestamp, occurred_at,
            received_at,
            CASE WHEN occurred_at > received_at + interval '5 minutes' THEN received_at ELSE occurred_at END
                AS created_at
        FROM quiz_submission_events
    ) AS event
    WHERE submission_id = $1 AND course_id = $2 AND quiz_id = $3 AND attempt = $4 AND id <= $5
        AND occurred_at BETWEEN $6 AND $10 AND (created_at, id) > ($6, $7) AND created_at <= $9
    ORDER BY created_at, id
    LIMIT $8
) AS event;
