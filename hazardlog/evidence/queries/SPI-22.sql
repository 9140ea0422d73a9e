-- Of the trials of emergency access on a made-up patient, those that worked, in percent.
SELECT if(count() = 0, NULL, 100 * countIf(has(detail, 'break_glass_probe=ok')) / count()) AS value, count() AS sample
FROM {{records}}
WHERE time >= {{from}} AND time < {{to}} AND kind = 'heartbeat' AND arrayExists(d -> startsWith(d, 'break_glass_probe='), detail)
