-- Emergency accesses for each 1,000 records opened: a person, a patient and a day count once.
SELECT if(opened = 0, NULL, 1000 * begun / opened) AS value, opened AS sample
FROM (
    SELECT countIf(kind = 'break-glass-start') AS begun,
        uniqExactIf((if(person != '', person, user_sub), patient, toDate(time)), kind = 'decision' AND effect = 'allow' AND patient != '') AS opened
    FROM {{records}}
    WHERE time >= {{from}} AND time < {{to}} AND kind IN ('decision', 'break-glass-start') AND NOT has(detail, 'machine=true') AND user_issuer != 'urn:matron:probe' AND (person != '' OR user_sub != '')
)
