-- Of the reads of people, those that a limit delayed by more than a second, in
-- percent: at most 1 means that the 99th percentile of the delay is at most a second.
SELECT if(count() = 0, NULL, 100 * countIf(late) / count()) AS value, count() AS sample
FROM (
    SELECT arrayExists(d -> match(d, '^slowed=[0-9]+[hm][0-9]') OR toFloat64OrZero(extract(d, '^slowed=([0-9.]+)s$')) > 1, detail)
        OR (source, seq) IN (
            SELECT source, decision FROM {{records}}
            WHERE time >= {{from}} AND time < {{to}} AND kind = 'outcome'
                AND arrayExists(d -> match(d, '^slowed=[0-9]+[hm][0-9]') OR toFloat64OrZero(extract(d, '^slowed=([0-9.]+)s$')) > 1, detail)
        ) AS late
    FROM {{records}}
    WHERE time >= {{from}} AND time < {{to}} AND kind = 'decision' AND action IN ('read', 'search', 'list') AND NOT has(detail, 'machine=true') AND user_issuer != 'urn:matron:probe' AND (person != '' OR user_sub != '')
)
