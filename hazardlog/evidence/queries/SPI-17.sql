-- By how many percentage points the share of the permitted requests about patients whose patient
-- the application named with certainty has fallen against the window before.
SELECT if(before = 0 OR since = 0, NULL, greatest(0, 100 * (sure_before / before - sure_since / since))) AS value, least(before, since) AS sample
FROM (
    SELECT countIf(time < {{from}}) AS before, countIf(time < {{from}} AND certainty = 'authoritative') AS sure_before,
        countIf(time >= {{from}}) AS since, countIf(time >= {{from}} AND certainty = 'authoritative') AS sure_since
    FROM {{records}}
    WHERE time >= {{before}} AND time < {{to}} AND kind = 'decision' AND effect = 'allow' AND certainty NOT IN ('', 'none')
)
