#!lua flags=allow-oom
-- Move the time of a test. What expires by then is gone, runs keep their leases, and whoever waits for something to be due
-- looks.
-- no change of state
--
-- KEYS[1] clock, KEYS[2] set of queues
-- ARGV[1] prefix, ARGV[2] seconds, ARGV[3] '1' when time is to stand still from then on, ARGV[4] a text that no other call has
-- Returns the time then, in seconds (also when the same call was sent before). 0 seconds are a look at the clock.
-- @include keys
-- @include clock
local clock, queues = KEYS[1], KEYS[2]
local prefix, seconds, stands, nonce = ARGV[1], tonumber(ARGV[2]), ARGV[3] == '1', ARGV[4]
local said, last = string.match(redis.call('GET', clock) or '+0', '^(%S+) ?(%S*)$')
if last == nonce then seconds = 0 end
local moment = now() + seconds
if last == nonce or seconds == 0 and not stands then return string.format('%.6f', moment) end
if stands or not string.find(said, '^[+-]') then
  redis.call('SET', clock, string.format('%.6f %s', moment, nonce))
else
  redis.call('SET', clock, string.format('%+.6f %s', tonumber(said) + seconds, nonce))
end
if seconds == 0 then return string.format('%.6f', moment) end

-- Jobs, their results and their attempts: what living processes keep alive goes by the time that passes for them.
local function age(pattern)
  local cursor = '0'
  repeat
    local page = redis.call('SCAN', cursor, 'MATCH', pattern, 'COUNT', 1000)
    for _, key in ipairs(page[2]) do
      local left = redis.call('PTTL', key)
      if left >= 0 then redis.call('PEXPIRE', key, string.format('%.0f', left - seconds * 1000)) end
    end
    cursor = page[1]
  until cursor == '0'
end
for _, key in ipairs({job_key(prefix, ''), results_key(prefix, ''), attempts_key(prefix, '')}) do age(key .. '*') end

local head = #queue_key(prefix, '') + 1
for _, key in ipairs(redis.call('SMEMBERS', queues)) do
  local queue = string.sub(key, head)
  local wip = registry_key(prefix, 'wip', queue)
  for _, member in ipairs(redis.call('ZRANGE', wip, 0, -1)) do redis.call('ZINCRBY', wip, seconds, member) end
  redis.call('PUBLISH', due_key(prefix), '0 ' .. queue)
end
redis.call('PUBLISH', cron_changed_key(prefix), '')
return string.format('%.6f', moment)
