-- The parts of spans in the range from ?1 to ?2, of the instance with the number ?3 or of all if that is NULL: from a to b, with the state's
-- number and one word for it. Where two runs overlap, the later one counts.
WITH piece AS (
    SELECT instance, state_span.id AS id, state, max(state_span.from_ms, ?1) AS a,
        min(coalesce(to_ms, ?2), coalesce(cut_ms, ?2), ?2) AS b, CASE WHEN left_out THEN 'left_out' ELSE health END AS word
    FROM state_span LEFT JOIN host_run ON host_run.id = run JOIN state ON state.id = state
    WHERE state_span.from_ms < ?2 AND instance IN (SELECT id FROM instance WHERE ?3 IS NULL OR id = ?3) AND a < b)
