#!lua
-- Enqueue a job of an entry of cron now, beside its slots.
-- nothing -> queued | rate_limited
--
-- KEYS[1] set of queues, KEYS[2] hash of entries
-- ARGV[1] prefix, ARGV[2] name, ARGV[3] the version of its definition
-- then of the job: as in cron_tick.lua
-- Returns a word, and the time of the server as RQ's text:
--   queued, rate_limited                the state of the job (also when the same call was sent before)
--   exists, running, unfit, unlisted    as in cron_tick.lua
--   missing                             there is no such entry
--   changed                             there is another definition
-- @include keys
-- @include clock
-- @include dates
-- @include stops
-- @include place
-- @include job
-- @include execution
-- @include dependents
-- @include plain_enqueue
-- @include enqueue
-- @include cron
local queues, entries = KEYS[1], KEYS[2]
local prefix, name, version = unpack(ARGV, 1, 3)
local batch = new_batch(prefix, queues, now())
if redis.call('HEXISTS', entries, name) == 0 then return {'missing', batch.stamp} end
if redis.call('HGET', cron_state_key(prefix, name), 'version') ~= version then return {'changed', batch.stamp} end
return {enqueue_of_entry(batch, name, '', {unpack(ARGV, 4)}), batch.stamp}
