-- Requests of other methods than GET, HEAD and OPTIONS that were refused since the
-- session had ended, for each 20,000 writes.
SELECT if(writes = 0, NULL, 2e4 * ended / writes) AS value, writes AS sample
FROM (
    SELECT countIf(effect != 'allow' AND has(reasons, 'session-expired') AND method NOT IN ('GET', 'HEAD', 'OPTIONS')) AS ended,
        countIf(effect = 'allow' AND action IN ('create', 'update', 'delete')) AS writes
    FROM {{records}}
    WHERE time >= {{from}} AND time < {{to}} AND kind IN ('decision', 'limit')
)
