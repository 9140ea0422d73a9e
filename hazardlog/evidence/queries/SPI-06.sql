-- Requests of people that a limit refused. A flood is recorded once with how many
-- went before it: each such record counts as one.
SELECT toFloat64(countIf(effect != 'allow' AND hasAny(reasons, ['rate-limited', 'patient-budget']))) AS value,
    countIf(kind = 'decision') AS sample
FROM {{records}}
WHERE time >= {{from}} AND time < {{to}} AND kind IN ('decision', 'limit') AND NOT has(detail, 'machine=true') AND user_issuer != 'urn:matron:probe' AND (person != '' OR user_sub != '')
