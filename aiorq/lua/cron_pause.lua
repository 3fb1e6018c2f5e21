#!lua flags=allow-oom
-- Pause an entry of cron: its slots pass without a job until it is resumed.
-- no change of state
--
-- KEYS[1] hash of entries, KEYS[2] sorted set of next slots
-- ARGV[1] prefix, ARGV[2] name
-- Returns 'paused'; 'already' when it was; 'missing' when there is no such entry.
-- @include keys
-- @include clock
-- @include dates
local entries, upcoming = KEYS[1], KEYS[2]
local prefix, name = ARGV[1], ARGV[2]
if redis.call('HEXISTS', entries, name) == 0 then return 'missing' end
local state = cron_state_key(prefix, name)
if redis.call('HSETNX', state, 'paused', epoch(now())) == 0 then return 'already' end
-- An interval goes on later where it stood.
local slot = redis.call('ZSCORE', upcoming, name)
if slot then redis.call('HSET', state, 'held', slot) end
redis.call('ZREM', upcoming, name)
return 'paused'
