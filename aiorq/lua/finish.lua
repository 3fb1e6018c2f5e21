#!lua flags=allow-oom
-- Record that a run returned.
-- started -> finished | nothing (at once, when its result is kept for 0 seconds)
--
-- KEYS[1] job
-- ARGV[1] prefix, ARGV[2] worker, ARGV[3] queue, ARGV[4] id, ARGV[5] execution id,
-- ARGV[6] result as RQ stores it ('' for None),
-- ARGV[7] seconds to keep it (0 deletes the job, negative keeps it for ever)
-- Returns 'ok' (also when this very outcome was recorded before), or 'lost': the run no longer holds its place, nothing
-- was changed.
-- @include keys
-- @include clock
-- @include dates
-- @include stops
-- @include job
-- @include execution
local key, prefix, worker, queue, id, token = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local value, ttl = ARGV[6], tonumber(ARGV[7])
if not holds(prefix, queue, id, token) then
  local before = outcome_recorded(prefix, id, token, '1', value)
  return (before == true or before == 'finished') and 'ok' or 'lost'
end
local moment = now()
local stamp = iso(moment)
-- First what may be refused, so that nothing is half done: the registry may be a key of another type.
if ttl ~= 0 then
  redis.call('ZADD', registry_key(prefix, 'finished', queue), ttl > 0 and math.floor(moment) + ttl or '+inf', id)
end
local began = end_execution(prefix, worker, queue, id, token, 'finished') or moment
count_run(prefix, worker, 'successful_job_count', moment - began)
if ttl == 0 then
  delete_ended_job(prefix, id)
  remember_end(prefix, token, 'finished')
  return 'ok'
end
redis.call('HSET', key, 'status', 'finished', 'ended_at', stamp, 'last_heartbeat', stamp)
record_result(prefix, worker, id, token, 1, 'return_value', value, began, moment, ttl)
if ttl > 0 then expire_job(prefix, id, ttl) end
return 'ok'
