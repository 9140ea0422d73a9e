-- Of the refusals of a person for a patient, those after which the same person got
-- to the same patient within ten minutes, in percent.
SELECT if(sum(refused) = 0, NULL, 100 * sum(followed) / sum(refused)) AS value, sum(refused) AS sample
FROM (
    SELECT
        groupArrayIf(toUnixTimestamp64Micro(time), kind = 'decision' AND effect != 'allow') AS refusals,
        groupArrayIf(toUnixTimestamp64Micro(time), kind = 'break-glass-start' OR effect = 'allow') AS opened,
        length(refusals) AS refused,
        arrayCount(r -> arrayExists(o -> o > r AND o <= r + 600000000, opened), refusals) AS followed
    FROM {{records}}
    WHERE time >= {{from}} AND time < {{to}} AND kind IN ('decision', 'break-glass-start') AND NOT has(detail, 'machine=true') AND user_issuer != 'urn:matron:probe' AND (person != '' OR user_sub != '')
        AND (if(person != '', person, user_sub), patient) IN (
            SELECT if(person != '', person, user_sub), patient FROM {{records}}
            WHERE time >= {{from}} AND time < {{to}} AND kind = 'decision' AND effect != 'allow' AND patient != '' AND NOT has(detail, 'machine=true') AND user_issuer != 'urn:matron:probe' AND (person != '' OR user_sub != ''))
    GROUP BY if(person != '', person, user_sub), patient
)
