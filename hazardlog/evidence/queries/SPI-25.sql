-- Minutes in which decisions were made with more than one revision of the rules, for each
-- change of the rules.
SELECT if(sum(minutes) = 0, NULL, sum(several) / greatest(1, sum(changes))) AS value, sum(minutes) AS sample
FROM (
    SELECT uniqExactIf(policy_rev, kind = 'decision' AND policy_rev != '') > 1 AS several,
        countIf(kind = 'decision') > 0 AS minutes, countIf(kind = 'policy-change' AND arrayExists(d -> startsWith(d, 'policy_before='), detail)) AS changes
    FROM {{records}}
    WHERE time >= {{from}} AND time < {{to}} AND kind IN ('decision', 'policy-change')
    GROUP BY toStartOfMinute(time)
)
