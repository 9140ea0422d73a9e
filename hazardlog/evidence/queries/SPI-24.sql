-- Of the decisions that the register of care relationships was asked for, those made
-- while each of its feeds had been heard of within its limit, in percent.
SELECT if(count() = 0, NULL, 100 * countIf(arrayExists(d -> startsWith(d, 'care=current'), detail)) / count()) AS value, count() AS sample
FROM {{records}}
WHERE time >= {{from}} AND time < {{to}} AND kind = 'decision' AND arrayExists(d -> startsWith(d, 'care='), detail)
