-- The time of an exchange less that until the application's response header, of
-- answers of at most 64 KiB that were not refused and that no limit delayed: the
-- greater of its 95th percentile over 20 ms and its 99th over 75 ms, in percent.
SELECT if(count() = 0, NULL, 100 * greatest(quantileTDigest(0.95)(overhead) / 20000, quantileTDigest(0.99)(overhead) / 75000)) AS value, count() AS sample
FROM {{records}}
WHERE time >= {{from}} AND time < {{to}} AND kind = 'outcome' AND upstream > 0 AND status < 400 AND bytes_out <= 65536
    AND NOT arrayExists(d -> startsWith(d, 'slowed='), detail)
    AND (source, decision) NOT IN (
        SELECT source, seq FROM {{records}}
        WHERE time >= {{from}} AND time < {{to}} AND kind = 'decision' AND arrayExists(d -> startsWith(d, 'slowed='), detail))
