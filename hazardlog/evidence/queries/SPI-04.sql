-- Days since a bypass that had begun was ended.
SELECT if(count() = 0, NULL, (toUnixTimestamp64Micro({{to}}) - max(toUnixTimestamp64Micro(time))) / 86400e6) AS value, count() AS sample
FROM {{records}}
WHERE time >= {{from}} AND time < {{to}} AND kind = 'bypass' AND action = 'end'
