-- Version 4. Released: never change this file; add a step with the next version beside it. Minutes of hours that have not ended are keyed as rollups
-- are, slot = (minute << 32) + instance: written at the end of such a table they fill its pages, which they do not in one without row ids. Minutes
-- after the year 6053 do not fit into the key and are dropped.
ALTER TABLE minute_open RENAME TO old_open;
CREATE TABLE minute_open (slot INTEGER PRIMARY KEY, run INTEGER NOT NULL, sums BLOB NOT NULL) STRICT;
INSERT INTO minute_open (slot, run, sums) SELECT (minute << 32) + instance, run, sums FROM old_open
    WHERE minute < 1 << 31 ORDER BY minute, instance;
DROP TABLE old_open;
