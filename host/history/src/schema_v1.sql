-- Version 1. Released: never change this file; add a step with the next version beside it.
-- Times are milliseconds since the Unix epoch.

-- Instances by name; everything else names them by number.
CREATE TABLE instance (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

-- When a host ran: what lies outside was not observed. alive_ms is renewed with each batch.
CREATE TABLE host_run (
    id       INTEGER PRIMARY KEY,
    from_ms  INTEGER NOT NULL,
    alive_ms INTEGER NOT NULL
) STRICT;

-- The truth of how an instance was. cut: the host ended without a word, and to_ms is when it was last known to live.
CREATE TABLE state_span (
    id        INTEGER PRIMARY KEY,
    instance  INTEGER NOT NULL,
    from_ms   INTEGER NOT NULL,
    to_ms     INTEGER,
    lifecycle TEXT NOT NULL,
    health    TEXT NOT NULL,
    cause     TEXT NOT NULL,
    cause_of  TEXT,
    left_out  INTEGER NOT NULL,
    cut       INTEGER NOT NULL DEFAULT 0,
    text      TEXT,
    CHECK (to_ms IS NULL OR to_ms >= from_ms)
) STRICT;
CREATE INDEX state_span_by_instance ON state_span (instance, from_ms);
CREATE UNIQUE INDEX state_span_open ON state_span (instance) WHERE to_ms IS NULL;
CREATE INDEX state_span_ended ON state_span (to_ms) WHERE to_ms IS NOT NULL;

-- Minutes (minute = milliseconds / 60000) of hours that have not ended, in the order of time: written at the end.
CREATE TABLE minute_open (
    minute   INTEGER NOT NULL,
    instance INTEGER NOT NULL,
    sums     BLOB NOT NULL,
    PRIMARY KEY (minute, instance)
) STRICT, WITHOUT ROWID;

-- Many stretches of one instance in a row. slot = (number of the longer stretch << 32) + instance: an hour's minutes, a day's
-- hours, the days of 32. Written at the end, found without an index of their own, deleted from the beginning.
CREATE TABLE rollup_minute (slot INTEGER PRIMARY KEY, sums BLOB NOT NULL) STRICT;
CREATE TABLE rollup_hour   (slot INTEGER PRIMARY KEY, sums BLOB NOT NULL) STRICT;
CREATE TABLE rollup_day    (slot INTEGER PRIMARY KEY, sums BLOB NOT NULL) STRICT;

-- Single results of all instances as they came, a batch a row; and those of ten minutes of one instance, slot as above.
CREATE TABLE result_batch (
    id      INTEGER PRIMARY KEY,
    from_ms INTEGER NOT NULL,
    to_ms   INTEGER NOT NULL,
    results BLOB NOT NULL
) STRICT;
CREATE TABLE result (slot INTEGER PRIMARY KEY, results BLOB NOT NULL) STRICT;

CREATE TABLE release (
    id       INTEGER PRIMARY KEY,
    instance INTEGER NOT NULL,
    at_ms    INTEGER NOT NULL,
    version  TEXT NOT NULL,
    digest   TEXT NOT NULL
) STRICT;
CREATE INDEX release_by_instance ON release (instance, at_ms);

-- Words that must be found again after a restart.
CREATE TABLE ledger (
    key   TEXT PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
