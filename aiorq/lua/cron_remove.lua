#!lua flags=allow-oom
-- Remove an entry of cron; its jobs and RQ's history of them stay.
-- no change of state
--
-- KEYS[1] hash of entries, KEYS[2] sorted set of next slots
-- ARGV[1] prefix, ARGV[2] name, ARGV[3] the version of its definition, '' for any
-- Returns 1, or 0 when there is no such entry (any more), or another definition.
-- @include keys
local entries, upcoming = KEYS[1], KEYS[2]
local prefix, name, version = ARGV[1], ARGV[2], ARGV[3]
local state = cron_state_key(prefix, name)
if version ~= '' and redis.call('HGET', state, 'version') ~= version then return 0 end
local known = redis.call('HDEL', entries, name)
redis.call('ZREM', upcoming, name)
redis.call('DEL', state, cron_fields_key(prefix, name))
return known
