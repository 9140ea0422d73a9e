-- Answers that broke off or did not go through, and that are recorded as a success.
SELECT toFloat64(countIf(error != '' AND outcome = '0')) AS value, count() AS sample
FROM {{records}}
WHERE time >= {{from}} AND time < {{to}} AND kind = 'outcome' AND upstream_to != ''
