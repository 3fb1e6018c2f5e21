#!lua flags=allow-oom
-- Record that a run returned a request to be tried again.
-- started -> queued | scheduled | failed | nothing (at once, when failures are kept for 0 seconds)
--
-- KEYS[1] job
-- ARGV[1] prefix, ARGV[2] worker, ARGV[3] queue, ARGV[4] id, ARGV[5] execution id,
-- ARGV[6] how many times it may be tried again for having asked, ARGV[7] JSON list of the seconds before each time, of which
-- the last repeats, ARGV[8] '1' for the front of the queue, ARGV[9] seconds to keep a job that fails (0 deletes it, negative
-- keeps it for ever), ARGV[10] the request as RQ stores it among results, ARGV[11] the same as RQ stores it in the hash; both
-- '' where RQ could not read it
-- Returns 'queued' or 'scheduled', or 'failed' when it was tried again as often as it may (each also when this very outcome
-- was recorded before); or 'lost': the run no longer holds its place, nothing was changed.
-- @include keys
-- @include clock
-- @include dates
-- @include stops
-- @include place
-- @include job
-- @include execution
-- @include dependents
-- @include retry
-- @include failure
local key, prefix, worker, queue, id, token = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local most, intervals, front, kept = tonumber(ARGV[6]), ARGV[7], ARGV[8], tonumber(ARGV[9])
local value, plain = ARGV[10], ARGV[11]
if not holds(prefix, queue, id, token) then
  local before = redis.pcall('GET', ended_key(prefix, token))
  return (before == 'queued' or before == 'scheduled' or before == 'failed') and before or 'lost'
end
local moment = now()
local tried, attempts, ttl, again = unpack(redis.call('HMGET', key, 'number_of_retries', 'aiorq_attempts', 'ttl',
  'enqueue_at_front_on_retry'))
tried = math.floor(math.max(0, tonumber(tried or nil) or 0))
local place = 'failed'
local first = front == '1' or again == '1'
if tried < most then place = place_again(prefix, queue, id, moment, interval_of(intervals, tried + 1), first, ttl)
else enter_failed(prefix, queue, id, moment, kept) end
local began = end_execution(prefix, worker, queue, id, token, place) or moment
count_run(prefix, worker, 'failed_job_count', moment - began)
remember_end(prefix, token, place)
if place == 'failed' then
  leave_failed(prefix, worker, queue, id, token, 'failed', 5, value, began, moment, kept)
  return place
end
-- As long as a failure, though the job goes on: one that is not kept at all would end the wait for its result.
record_result(prefix, worker, id, token, 4, 'return_value', value, began, moment, kept == 0 and 31536000 or kept, attempts)
keep_waiting(prefix, id, ttl)
redis.call('HSET', key, 'number_of_retries', tried + 1, 'ended_at', iso(moment))
if plain ~= '' then redis.call('HSET', key, 'result', plain) end
-- For the time when it is due, and for all later retries (RQ).
if front == '1' then redis.call('HSET', key, 'enqueue_at_front_on_retry', 1) end
redis.pcall('HINCRBY', key, 'aiorq_attempts', 1)
return place
