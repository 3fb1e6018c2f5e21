#!lua
-- Put an entry of cron into Redis, or in place of the one of that name.
-- no change of state
--
-- KEYS[1] hash of entries, KEYS[2] sorted set of next slots
-- ARGV[1] prefix, ARGV[2] name, ARGV[3] version: a text that no other definition has
-- ARGV[4] recurrence: a text that only entries have which run at the same times, ARGV[5] definition
-- ARGV[6] its next slot in seconds, '' for an interval, ARGV[7] that interval in seconds, '' for none
-- then the fields that every job of it begins with: field, value, field, value ...
-- Returns 'same' when the entry is as it was, and nothing was changed; 'added' or 'replaced'; or 'unfit' when one of its keys is of
-- another type, and nothing was changed.
--
-- An entry that runs at the same times as before keeps its next slot. An interval that is new has its first slot now, one of
-- another length goes on from the last slot. A paused entry stays paused.
-- @include keys
-- @include clock
-- @include dates
-- @include place
local entries, upcoming = KEYS[1], KEYS[2]
local prefix, name, version, recurrence, definition, first, interval = unpack(ARGV, 1, 7)
local state, fields = cron_state_key(prefix, name), cron_fields_key(prefix, name)
local kinds = {[entries] = 'hash', [upcoming] = 'zset', [state] = 'hash', [fields] = 'hash'}
for key, kind in pairs(kinds) do
  if not pcall(check_kind, key, kind) then return 'unfit' end
end
local moment = now()
local known = redis.call('HEXISTS', entries, name) == 1
if not known then redis.call('DEL', state) end
local old, before, paused, last = unpack(redis.call('HMGET', state, 'version', 'recurrence', 'paused', 'slot'))
local slot = redis.call('ZSCORE', upcoming, name)
if known and old == version and (slot or paused) then return 'same' end
if not slot or before ~= recurrence then
  slot = first
  if slot == '' then
    slot = last and string.format('%.6f', math.max(moment, tonumber(last) + tonumber(interval))) or epoch(moment)
  end
end
redis.call('HSET', entries, name, definition)
redis.call('DEL', fields)
redis.call('HSET', fields, unpack(ARGV, 8))
redis.call('HSET', state, 'version', version, 'recurrence', recurrence)
if paused then
  if before ~= recurrence then redis.call('HDEL', state, 'held') end
else redis.call('ZADD', upcoming, slot, name) end
redis.pcall('PUBLISH', cron_changed_key(prefix), name)
return known and 'replaced' or 'added'
