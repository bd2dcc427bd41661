-- Version 2. Released: never change this file; add a step with the next version beside it.

-- Deep checks, one by one: there are few, and each has cost something. result: a code, as in rows of single results; counted: whether it
-- was evidence.
CREATE TABLE deep_check (
    id       INTEGER PRIMARY KEY,
    instance INTEGER NOT NULL,
    at_ms    INTEGER NOT NULL,
    result   INTEGER NOT NULL,
    counted  INTEGER NOT NULL,
    took_ns  INTEGER,
    text     TEXT
) STRICT;
CREATE INDEX deep_check_by_instance ON deep_check (instance, at_ms);
CREATE INDEX deep_check_by_time ON deep_check (at_ms);

-- When the wall clock was set, as it showed after that, and by how much. found: a host that began found that the one before it had been
-- ahead, by that much at least. moved: the sums of minutes that the clock had told before were moved with the spans.
CREATE TABLE clock_step (
    id    INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    by_ms INTEGER NOT NULL,
    found INTEGER NOT NULL,
    moved INTEGER NOT NULL
) STRICT;
