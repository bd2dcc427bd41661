-- From version 2, once the tables of version 3 are there. Every row is of the run that was under way when its stretch ended. row_of_v2 and
-- rollup_of_v2 (migrate.rs) read rollups in the old form and give them in the new one.
INSERT OR IGNORE INTO state (lifecycle, health, cause, cause_of, left_out)
    SELECT DISTINCT lifecycle, health, cause, coalesce(cause_of, ''), left_out FROM old_span;
INSERT INTO state_span (id, instance, run, from_ms, to_ms, state, cut, text)
    SELECT id, instance,
        coalesce((SELECT h.id FROM host_run AS h WHERE h.from_ms <= old_span.from_ms ORDER BY h.id DESC LIMIT 1), 0),
        from_ms, to_ms,
        (SELECT s.id FROM state AS s WHERE s.lifecycle = old_span.lifecycle AND s.health = old_span.health
            AND s.cause = old_span.cause AND s.cause_of = coalesce(old_span.cause_of, '') AND s.left_out = old_span.left_out),
        cut, text
    FROM old_span;
INSERT INTO check_result (instance, at_ms, last_ms, times, deep, result, counted, took_ns, text)
    SELECT instance, at_ms, at_ms, 1, 1, result, counted, took_ns, text FROM deep_check ORDER BY id;
INSERT INTO minute_open (minute, instance, run, sums)
    SELECT minute, instance, coalesce((SELECT id FROM host_run WHERE from_ms < (minute + 1) * 60000 ORDER BY id DESC LIMIT 1), 0),
        rollup_of_v2(sums)
    FROM old_open WHERE rollup_of_v2(sums) IS NOT NULL ORDER BY minute, instance;
INSERT INTO rollup_minute (slot, run, sums)
    SELECT slot, coalesce((SELECT id FROM host_run WHERE from_ms < ((slot >> 32) + 1) * 3600000 ORDER BY id DESC LIMIT 1), 0), row_of_v2(sums)
    FROM old_minute ORDER BY slot;
INSERT INTO rollup_hour (slot, run, sums)
    SELECT slot, coalesce((SELECT id FROM host_run WHERE from_ms < ((slot >> 32) + 1) * 86400000 ORDER BY id DESC LIMIT 1), 0), row_of_v2(sums)
    FROM old_hour ORDER BY slot;
INSERT INTO rollup_day (slot, run, sums)
    SELECT slot, coalesce((SELECT id FROM host_run WHERE from_ms < ((slot >> 32) + 1) * 2764800000 ORDER BY id DESC LIMIT 1), 0), row_of_v2(sums)
    FROM old_day ORDER BY slot;
DROP TABLE old_span; DROP TABLE old_open; DROP TABLE old_minute; DROP TABLE old_hour; DROP TABLE old_day; DROP TABLE deep_check;
