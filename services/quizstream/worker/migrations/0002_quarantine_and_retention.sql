-- Quarantine with a way back, and courses that retention leaves alone.

ALTER TABLE quarantined_events
    ADD COLUMN replayed_at timestamptz,
    ADD COLUMN stored_at   timestamptz;

COMMENT ON COLUMN quarantined_events.replayed_at IS
    'When it was last sent through the topic again and neither stored nor refused since';
COMMENT ON COLUMN quarantined_events.stored_at IS
    'When its event was stored after a replay. The row stays, without raw, so that a late delivery is not quarantined anew';

CREATE INDEX quarantined_events_by_time ON quarantined_events (quarantined_at) WHERE stored_at IS NULL;
CREATE INDEX quarantined_events_by_reason ON quarantined_events (reason, quarantined_at) WHERE stored_at IS NULL;

CREATE TABLE retention_holds (
    course_id bigint      PRIMARY KEY,
    reason    text        NOT NULL,
    since     timestamptz NOT NULL DEFAULT now()
);

COMMENT ON TABLE retention_holds IS 'Courses of which retention removes nothing';
