-- In place of clock.lua where tests move the time: seconds as a float, from the key `aiorq:test:clock`.
local function now()
  return tonumber(redis.call('GET', 'aiorq:test:clock'))
end
