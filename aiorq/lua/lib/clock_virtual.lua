-- In place of clock.lua below the prefix of a test: seconds as a float, so far from the server's time as `clock_key` says with a
-- sign; without one it is the moment that time stands at. Behind it stands by what call it was moved last.
local function now()
  local said = redis.call('GET', ARGV[1] .. ':aiorq:clock')
  said = said and string.match(said, '^%S+')
  if said and not string.find(said, '^[+-]') then return tonumber(said) end
  local time = redis.call('TIME')
  return tonumber(time[1]) + tonumber(time[2]) / 1000000 + tonumber(said or 0)
end
