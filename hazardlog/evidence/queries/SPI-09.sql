-- Exchanges that ended with status 504 although the application had begun to answer
-- or had never been asked, for each 100,000.
SELECT if(count() = 0, NULL, 1e5 * countIf(status = 504 AND (upstream > 0 OR upstream_to = '')) / count()) AS value, count() AS sample
FROM {{records}}
WHERE time >= {{from}} AND time < {{to}} AND kind = 'outcome'
