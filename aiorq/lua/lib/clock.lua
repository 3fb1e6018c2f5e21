-- The time of the server, which alone decides: seconds as a float, and as RQ's text of a date.
local function now()
  local time = redis.call('TIME')
  return tonumber(time[1]) + tonumber(time[2]) / 1000000
end
