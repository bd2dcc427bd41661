,
-- Time in each state.
time AS (SELECT instance, sum(b - a) FILTER (WHERE word = 'up') AS up, sum(b - a) FILTER (WHERE word = 'degraded') AS degraded,
        sum(b - a) FILTER (WHERE word = 'down') AS down, sum(b - a) FILTER (WHERE word = 'left_out') AS left_out,
        sum(b - a) FILTER (WHERE word NOT IN ('up', 'degraded', 'down', 'left_out')) AS unknown
    FROM piece GROUP BY instance),
-- An outage is a maximal run of down: whatever comes next but unknown ends it.
known AS (SELECT *, word = 'down' AND lag(word) OVER in_order IS NOT 'down' AS begins FROM piece WHERE word != 'unknown'
    WINDOW in_order AS (PARTITION BY instance ORDER BY a, id)),
numbered AS (SELECT *, sum(begins) OVER in_order AS number FROM known WINDOW in_order AS (PARTITION BY instance ORDER BY a, id)),
-- has_ended: whether something ended it; operating: time up or degraded from its start to the next one's; state: its first one.
outage AS (SELECT instance, min(a) AS a, max(b) FILTER (WHERE word = 'down') AS b, max(word != 'down') AS has_ended,
        coalesce(sum(b - a) FILTER (WHERE word IN ('up', 'degraded')), 0) AS operating, max(state) FILTER (WHERE begins) AS state,
        number = max(number) OVER (PARTITION BY instance) AS is_last
    FROM numbered WHERE number > 0 GROUP BY instance, number),
-- The columns without a function are those of the longest one, the one with the max.
total AS (SELECT instance, count(*) AS outages, sum(b - a) FILTER (WHERE has_ended) / sum(has_ended) AS mttr,
        sum(operating) FILTER (WHERE NOT is_last) / (count(*) - 1) AS mtbf,
        sum(CASE WHEN has_ended THEN ?2 - b ELSE 0 END) FILTER (WHERE is_last) AS since_last, max(b - a) AS length, a, b, has_ended, state
    FROM outage GROUP BY instance),
first AS (SELECT instance, min(from_ms) AS from_ms FROM state_span WHERE instance IN (SELECT id FROM instance WHERE ?3 IS NULL OR id = ?3)
    GROUP BY instance)
SELECT name, from_ms, up, degraded, down, unknown, time.left_out AS left_out_ms, outages, mttr, mtbf, since_last, a, b, has_ended, cause, cause_of
FROM first JOIN instance ON instance.id = first.instance LEFT JOIN time ON time.instance = first.instance
    LEFT JOIN total ON total.instance = first.instance LEFT JOIN state ON state.id = total.state
