#!lua flags=allow-oom
-- Record that a run returned. The jobs that wait for this one go on, and so does a job that repeats.
-- started -> finished | queued | scheduled | nothing (at once, when its result is kept for 0 seconds)
--
-- KEYS[1] job
-- ARGV[1] prefix, ARGV[2] worker, ARGV[3] queue, ARGV[4] id, ARGV[5] execution id,
-- ARGV[6] result as RQ stores it ('' for None),
-- ARGV[7] seconds to keep it (0 deletes the job, negative keeps it for ever),
-- ARGV[8] the result as RQ leaves it in the hash of a job that is to be repeated ('' for None)
-- Returns 'ok' (also when this very outcome was recorded before), or 'lost': the run no longer holds its place, nothing
-- was changed. 'ok' is followed by a space and the part of the dependents that was set apart, where there is one (see
-- enqueue_dependents.lua).
-- @include keys
-- @include clock
-- @include dates
-- @include stops
-- @include place
-- @include job
-- @include execution
-- @include dependents
-- @include retry
local key, prefix, worker, queue, id, token = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local value, ttl, plain = ARGV[6], tonumber(ARGV[7]), ARGV[8]
if not holds(prefix, queue, id, token) then
  local before = outcome_recorded(prefix, id, token, '1', value)
  return (before == true or before == 'finished') and 'ok' or 'lost'
end
local moment = now()
local stamp = iso(moment)
local limit, attempts, repeats, intervals, waits =
  unpack(redis.call('HMGET', key, 'rate_limit_key', 'aiorq_attempts', 'repeats_left', 'repeat_intervals', 'ttl'))
repeats = tonumber(repeats or nil)
if repeats and not (repeats >= 1 and repeats <= 2 ^ 53) then repeats = nil end
local interval = repeats and interval_of(intervals, 1)
-- First what may be refused, so that nothing is half done: a registry, or the queue, may be a key of another type.
if repeats then check_kind(interval > 0 and registry_key(prefix, 'scheduled', queue) or queue_key(prefix, queue),
  interval > 0 and 'zset' or 'list') end
if ttl ~= 0 then
  redis.call('ZADD', registry_key(prefix, 'finished', queue), ttl > 0 and math.floor(moment) + ttl or '+inf', id)
end
local began = end_execution(prefix, worker, queue, id, token, 'finished') or moment
count_run(prefix, worker, 'successful_job_count', moment - began)
if limit and not (repeats and interval == 0) then release_slot(prefix, limit, id, moment) end
redis.call('HSET', key, 'status', 'finished', 'ended_at', stamp, 'last_heartbeat', stamp)
local _, part = end_parent(prefix, id, ttl == 0 and not repeats and 'passed' or 'finished', moment)
local answer = part and 'ok ' .. part or 'ok'
if ttl == 0 or repeats then remember_end(prefix, token, 'finished') end
if ttl == 0 and not repeats then
  delete_ended_job(prefix, id)
  return answer
end
if ttl ~= 0 then record_result(prefix, worker, id, token, 1, 'return_value', value, began, moment, ttl, attempts) end
if repeats then
  if attempts then
    redis.call('HDEL', key, 'aiorq_attempts')
    redis.call('DEL', attempts_key(prefix, id))
  end
  redis.call('HSET', key, 'repeats_left', repeats - 1, 'aiorq_since', epoch(moment))
  if plain ~= '' then redis.call('HSET', key, 'result', plain) end
  local read, list = pcall(cjson.decode, intervals or '')
  if read and type(list) == 'table' and #list > 1 then
    local left = {}
    for index = 2, #list do left[index - 1] = tonumber(list[index]) or 0 end
    -- As Python writes it, which RQ's readers compare.
    redis.call('HSET', key, 'repeat_intervals', '[' .. table.concat(left, ', ') .. ']')
  end
  place_again(prefix, queue, id, moment, interval, false, waits)
elseif ttl > 0 then
  expire_job(prefix, id, ttl)
end
return answer
