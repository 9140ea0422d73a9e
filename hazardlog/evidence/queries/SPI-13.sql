-- Accounts that worked in the ten minutes before a start of a gateway and had to sign in
-- anew within ten minutes after it, without having signed out.
WITH (SELECT groupArray(toUnixTimestamp64Micro(time)) FROM {{records}} WHERE time >= {{from}} AND time < {{to}} AND kind = 'start') AS starts
SELECT toFloat64(countIf(again > 0)) AS value, count() AS sample
FROM (
    SELECT begun, user_issuer, user_sub,
        countIf(kind = 'decision' AND effect = 'allow' AND at < begun) AS worked,
        countIf(kind = 'sign-in' AND outcome = '0' AND at > begun) AS again,
        countIf(kind = 'sign-out') AS left
    FROM (
        SELECT kind, effect, outcome, user_issuer, user_sub, toUnixTimestamp64Micro(time) AS at,
            arrayJoin(arrayFilter(s -> abs(at - s) <= 600000000, starts)) AS begun
        FROM {{records}}
        WHERE time >= {{from}} AND time < {{to}} AND kind IN ('decision', 'sign-in', 'sign-out') AND user_sub != '' AND NOT has(detail, 'machine=true') AND user_issuer != 'urn:matron:probe' AND (person != '' OR user_sub != '')
    )
    GROUP BY begun, user_issuer, user_sub
    HAVING worked > 0 AND left = 0
)
