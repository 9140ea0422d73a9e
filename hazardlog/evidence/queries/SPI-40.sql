-- People who looked at the record of access on Matron's own pages in a session that
-- was proved with one factor, or nobody knows how.
SELECT toFloat64(uniqExactIf((user_issuer, user_sub, session), assurance < 2 AND NOT hasAny(amr, ['mfa', 'otp', 'hwk', 'sc', 'swk', 'fpt', 'face', 'pop']))) AS value,
    uniqExact((user_issuer, user_sub, session)) AS sample
FROM {{records}}
WHERE time >= {{from}} AND time < {{to}} AND kind = 'audit-viewed' AND user_issuer NOT IN ('', 'os')
