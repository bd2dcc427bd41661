-- A history as version 1 wrote it: what a host leaves behind that died while "chat" was down.
PRAGMA application_id = 1165521997;
PRAGMA user_version = 1;
PRAGMA auto_vacuum = INCREMENTAL;

CREATE TABLE instance (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE host_run (
    id       INTEGER PRIMARY KEY,
    from_ms  INTEGER NOT NULL,
    alive_ms INTEGER NOT NULL
) STRICT;

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

CREATE TABLE minute_open (
    minute   INTEGER NOT NULL,
    instance INTEGER NOT NULL,
    sums     BLOB NOT NULL,
    PRIMARY KEY (minute, instance)
) STRICT, WITHOUT ROWID;

CREATE TABLE rollup_minute (slot INTEGER PRIMARY KEY, sums BLOB NOT NULL) STRICT;
CREATE TABLE rollup_hour   (slot INTEGER PRIMARY KEY, sums BLOB NOT NULL) STRICT;
CREATE TABLE rollup_day    (slot INTEGER PRIMARY KEY, sums BLOB NOT NULL) STRICT;

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

CREATE TABLE ledger (
    key   TEXT PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO instance VALUES (1, 'chat');
INSERT INTO host_run VALUES (1, 1790035200000, 1790035290000);
INSERT INTO state_span VALUES (1, 1, 1790035200000, 1790035260000, 'running', 'up', 'answers', NULL, 0, 0, NULL);
INSERT INTO state_span VALUES
    (2, 1, 1790035260000, NULL, 'running', 'down', 'check_fails', 'unavailable', 0, 0, 'no route to the model');
INSERT INTO minute_open VALUES (29833920, 1, X'01E0D403');
INSERT INTO rollup_minute VALUES (2135595178524673, X'010A8502F8CC03E807010102');
INSERT INTO rollup_hour VALUES (88983132438529, X'000A8502F8CC03E807010102');
INSERT INTO rollup_day VALUES (2778843840513, X'0E0A8502F8CC03E807010102');
INSERT INTO result VALUES (12813571071148033, X'A01F05');
INSERT INTO result_batch VALUES (1, 1790035201000, 1790035201000, X'010021AC02');
INSERT INTO release VALUES (1, 1, 1790035200000, '1.2.3', '0707070707070707070707070707070707070707070707070707070707070707');
INSERT INTO ledger VALUES ('deep/chat', 1790035200000, '5');
