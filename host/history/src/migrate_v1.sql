-- The tables of version 2 that version 1 has not.
CREATE TABLE deep_check (id INTEGER PRIMARY KEY, instance INTEGER NOT NULL, at_ms INTEGER NOT NULL, result INTEGER NOT NULL,
    counted INTEGER NOT NULL, took_ns INTEGER, text TEXT) STRICT;
CREATE TABLE clock_step (id INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, by_ms INTEGER NOT NULL, found INTEGER NOT NULL,
    moved INTEGER NOT NULL) STRICT;
