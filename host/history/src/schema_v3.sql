-- Version 3. Released: never change this file; add a step with the next version beside it. Run for an empty file, and for an older one whose
-- tables of another shape were renamed before. Times are milliseconds since the Unix epoch.

-- Instances by name; everything else names them by number.
CREATE TABLE IF NOT EXISTS instance (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

-- When a host ran by one clock: what lies outside was not observed. A wall clock that is set begins a new row. alive_ms is renewed with each
-- batch. cut_ms: a later run observed the times from there on, so that what this one tells of them does not count.
CREATE TABLE IF NOT EXISTS host_run (
    id       INTEGER PRIMARY KEY,
    from_ms  INTEGER NOT NULL,
    alive_ms INTEGER NOT NULL,
    cut_ms   INTEGER
) STRICT;

-- States in the words of the API.
CREATE TABLE state (
    id        INTEGER PRIMARY KEY,
    lifecycle TEXT NOT NULL,
    health    TEXT NOT NULL,
    cause     TEXT NOT NULL,
    cause_of  TEXT NOT NULL,
    left_out  INTEGER NOT NULL,
    UNIQUE (lifecycle, health, cause, cause_of, left_out)
) STRICT;

-- The truth of how an instance was. cut: the host ended without a word, and to_ms is when it was last known to live.
CREATE TABLE state_span (
    id       INTEGER PRIMARY KEY,
    instance INTEGER NOT NULL,
    run      INTEGER NOT NULL,
    from_ms  INTEGER NOT NULL,
    to_ms    INTEGER,
    state    INTEGER NOT NULL,
    cut      INTEGER NOT NULL DEFAULT 0,
    text     TEXT,
    CHECK (to_ms IS NULL OR to_ms >= from_ms)
) STRICT;
CREATE INDEX state_span_by_instance ON state_span (instance, from_ms);
CREATE UNIQUE INDEX state_span_open ON state_span (instance) WHERE to_ms IS NULL;

-- Minutes (minute = milliseconds / 60000) of hours that have not ended, in the order of time: written at the end.
CREATE TABLE minute_open (
    minute   INTEGER NOT NULL,
    instance INTEGER NOT NULL,
    run      INTEGER NOT NULL,
    sums     BLOB NOT NULL,
    PRIMARY KEY (minute, instance)
) STRICT, WITHOUT ROWID;

-- Many stretches of one instance in a row. slot = (number of the longer stretch << 32) + instance: an hour's minutes, a day's
-- hours, the days of 32. Written at the end, found without an index of their own, deleted from the beginning. run: who wrote it last.
CREATE TABLE rollup_minute (slot INTEGER PRIMARY KEY, run INTEGER NOT NULL, sums BLOB NOT NULL) STRICT;
CREATE TABLE rollup_hour   (slot INTEGER PRIMARY KEY, run INTEGER NOT NULL, sums BLOB NOT NULL) STRICT;
CREATE TABLE rollup_day    (slot INTEGER PRIMARY KEY, run INTEGER NOT NULL, sums BLOB NOT NULL) STRICT;

-- Checks that were not good, and all deep ones. result: a code; times: how often the same came of it, from at_ms to last_ms; counted:
-- whether it was evidence.
CREATE TABLE check_result (
    id       INTEGER PRIMARY KEY,
    instance INTEGER NOT NULL,
    at_ms    INTEGER NOT NULL,
    last_ms  INTEGER NOT NULL,
    times    INTEGER NOT NULL,
    deep     INTEGER NOT NULL,
    result   INTEGER NOT NULL,
    counted  INTEGER NOT NULL,
    took_ns  INTEGER,
    text     TEXT
) STRICT;
CREATE INDEX check_result_by_instance ON check_result (instance, at_ms);

CREATE TABLE IF NOT EXISTS release (
    id       INTEGER PRIMARY KEY,
    instance INTEGER NOT NULL,
    at_ms    INTEGER NOT NULL,
    version  TEXT NOT NULL,
    digest   TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS release_by_instance ON release (instance, at_ms);

-- Values that must be found again after a restart.
CREATE TABLE IF NOT EXISTS key_value (
    key   TEXT PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- When the wall clock was set, as it showed after that, and by how much. found: a host that began found that the one before it had been
-- ahead, by that much at least.
CREATE TABLE IF NOT EXISTS clock_step (
    id    INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    by_ms INTEGER NOT NULL,
    found INTEGER NOT NULL
) STRICT;
