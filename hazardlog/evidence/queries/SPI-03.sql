-- Of the time since the first heartbeat of any gateway in the window, the part that is
-- in no silence of more than two minutes, in percent. Each gateway beats once a
-- minute.
SELECT if(length(beats) < 2, NULL, 100 * (1 - arraySum(x -> if(x > 120, x - 60, 0), arrayDifference(beats)) / (beats[-1] - beats[1]))) AS value,
    if(length(beats) < 2, 0, toUInt64((beats[-1] - beats[1]) / 60)) AS sample
FROM (
    SELECT arraySort(groupArray(toFloat64(toUnixTimestamp64Micro(time)) / 1e6)) AS beats FROM {{records}}
    WHERE time >= {{from}} AND time < {{to}} AND kind = 'heartbeat'
)
