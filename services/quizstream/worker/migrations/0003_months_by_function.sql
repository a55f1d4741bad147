-- Months are made by a function that runs as the owner of the tables: a worker may call it and needs no right to change
-- the schema otherwise. It makes nothing that events could not come for, whatever it is asked.
DO $migration$
BEGIN
    EXECUTE format($statement$
CREATE FUNCTION make_month(first_day date) RETURNS boolean
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path TO %I, pg_temp
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
    EXECUTE format('CREATE TABLE %%I (LIKE quiz_submission_events INCLUDING ALL)', partition);
    EXECUTE format(
        'ALTER TABLE quiz_submission_events ATTACH PARTITION %%I FOR VALUES FROM (%%L) TO (%%L)',
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
                'ALTER TABLE quiz_submission_events DETACH PARTITION %%I FINALIZE', partition || '_retired'
            );
        EXCEPTION
            WHEN lock_not_available THEN
                RETURN false; -- somebody has been reading it since before: events must not wait for that
            WHEN undefined_table OR object_not_in_prerequisite_state THEN
                NULL; -- whoever began it has just finished it
        END;
        RETURN make_month(first_day);
END
$function$
$statement$, current_schema());
END
$migration$;

COMMENT ON FUNCTION make_month(date) IS 'Makes the partition of a month, at most 13 ahead; false where there is one';
REVOKE ALL ON FUNCTION make_month(date) FROM PUBLIC;
