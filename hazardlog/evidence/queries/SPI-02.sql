-- Seconds from a refusal to the first request that the emergency access which
-- followed it let through: the 95th percentile.
SELECT if(count() = 0, NULL, quantileExact(0.95)(shown - refused)) AS value, count() AS sample
FROM (
    SELECT s.basis AS basis, min(toUnixTimestamp64Micro(d.time)) / 1e6 AS refused
    FROM {{records}} AS d
    INNER JOIN (
        SELECT basis, request AS refusal FROM {{records}}
        WHERE time >= {{from}} AND time < {{to}} AND kind = 'break-glass-start' AND user_issuer != 'urn:matron:probe'
    ) AS s ON d.request = s.refusal
    WHERE d.time >= {{from}} AND d.time < {{to}} AND d.kind = 'decision' AND d.effect != 'allow'
    GROUP BY s.basis
) AS r
INNER JOIN (
    SELECT basis, min(toUnixTimestamp64Micro(time)) / 1e6 AS shown FROM {{records}}
    WHERE time >= {{from}} AND time < {{to}} AND kind = 'decision' AND effect = 'allow' AND startsWith(basis, 'break-glass:')
    GROUP BY basis
) AS a ON r.basis = a.basis
