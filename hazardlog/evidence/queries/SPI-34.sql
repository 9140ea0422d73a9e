-- Requests of people to write that were refused for the form of what they sent.
SELECT toFloat64(countIf(effect != 'allow' AND method NOT IN ('GET', 'HEAD', 'OPTIONS') AND hasAny(reasons, ['unclassifiable', 'body-too-large', 'malformed', 'too-many-patients', 'too-many-parts']))) AS value,
    countIf(kind = 'decision' AND action IN ('create', 'update', 'delete')) AS sample
FROM {{records}}
WHERE time >= {{from}} AND time < {{to}} AND kind IN ('decision', 'limit') AND NOT has(detail, 'machine=true') AND user_issuer != 'urn:matron:probe' AND (person != '' OR user_sub != '')
