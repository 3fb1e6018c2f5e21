#!lua flags=allow-oom
-- Let an entry of cron that was paused run again, from its first slot after now on.
-- no change of state
--
-- KEYS[1] hash of entries, KEYS[2] sorted set of next slots
-- ARGV[1] prefix, ARGV[2] name, ARGV[3] the version of its definition
-- ARGV[4] its next slot in seconds, '' for an interval, ARGV[5] that interval in seconds, '' for none
-- Returns 'resumed'; 'already' when it is not paused; 'missing' when there is no such entry; 'changed' when there is another
-- definition.
-- @include keys
-- @include clock
-- @include dates
local entries, upcoming = KEYS[1], KEYS[2]
local prefix, name, version, slot, interval = unpack(ARGV, 1, 5)
if redis.call('HEXISTS', entries, name) == 0 then return 'missing' end
local state = cron_state_key(prefix, name)
local current, paused, held = unpack(redis.call('HMGET', state, 'version', 'paused', 'held'))
if not paused then return 'already' end
if current ~= version then return 'changed' end
if slot == '' then
  local moment = now()
  held, interval = tonumber(held or nil) or moment, tonumber(interval)
  if held < moment then held = held + math.ceil((moment - held) / interval) * interval end
  slot = epoch(held)
end
redis.call('ZADD', upcoming, slot, name)
redis.call('HDEL', state, 'paused', 'held')
redis.pcall('PUBLISH', cron_changed_key(prefix), name)
return 'resumed'
