-- Writes that were let through and of which no outcome is recorded, or one that says
-- that the application did not answer to the end, for each 50,000. The last ten
-- minutes do not count: what is under way has no outcome yet.
SELECT if(count() = 0, NULL, 5e4 * countIf(outcomes = 0 OR failed > 0) / count()) AS value, count() AS sample
FROM (
    SELECT countIf(kind = 'outcome') AS outcomes,
        countIf(kind = 'outcome' AND upstream_to != '' AND error IN ('application-timeout', 'application-failed', 'response-broken-off')) AS failed
    FROM {{records}}
    WHERE time >= {{from}} AND time < {{to}} AND kind IN ('decision', 'outcome') AND (source, if(kind = 'decision', seq, decision)) IN (
        SELECT source, seq FROM {{records}}
        WHERE time >= {{from}} AND time < {{to}} - INTERVAL 10 MINUTE AND kind = 'decision' AND effect = 'allow' AND action IN ('create', 'update', 'delete'))
    GROUP BY source, if(kind = 'decision', seq, decision)
)
