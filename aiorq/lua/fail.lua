#!lua flags=allow-oom
-- Record that a run failed: it raised, ran over its time, or its process ended. A job with retries left gets another.
-- started -> failed | queued | scheduled | nothing (at once, when failures are kept for 0 seconds)
--
-- KEYS[1] job
-- ARGV[1] prefix, ARGV[2] worker, ARGV[3] queue, ARGV[4] id, ARGV[5] execution id,
-- ARGV[6] traceback as RQ stores it, ARGV[7] seconds to keep the job (0 deletes it, negative keeps it for ever),
-- ARGV[8] dotted names of the exception's class and of those it derives from, joined by commas,
-- ARGV[9] a random number from 0 to 1, for the jitter of intervals,
-- ARGV[10] '1' when a job that fails for good enters the registry of failed ones, '0' when it is left out
-- Returns 'failed', or 'queued' or 'scheduled' when it is tried again (also when this very outcome was recorded before),
-- or 'lost': the run no longer holds its place, nothing was changed. 'failed' is followed by a space and the part of the
-- dependents that was set apart, where there is one (see enqueue_dependents.lua).
-- @include keys
-- @include clock
-- @include dates
-- @include stops
-- @include place
-- @include job
-- @include execution
-- @include dependents
-- @include attempts
-- @include retry
-- @include failure
local key, prefix, worker, queue, id, token = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local traceback, ttl = ARGV[6], tonumber(ARGV[7])
local kinds, chance, listed = ARGV[8], tonumber(ARGV[9]), ARGV[10]
if not holds(prefix, queue, id, token) then
  local before = outcome_recorded(prefix, id, token, '2', traceback)
  if before == true or before == 'failed' then return 'failed' end
  return (before == 'queued' or before == 'scheduled') and before or 'lost'
end
local moment = now()
local place = retry_job(prefix, queue, id, moment, kinds, chance)
if place then
  redis.call('HSET', key, 'ended_at', iso(moment))
  remember_end(prefix, token, place)
elseif listed == '1' then
  enter_failed(prefix, queue, id, moment, ttl)
else
  redis.call('HSET', key, 'aiorq_unlisted', 1) -- for the doctor, who would miss its entry
end
local began = end_execution(prefix, worker, queue, id, token, place or 'failed') or moment
count_run(prefix, worker, 'failed_job_count', moment - began)
if place then
  note_attempt(prefix, id, 'failed', worker, token, began, moment, traceback)
  return place
end
local part = leave_failed(prefix, worker, queue, id, token, 'failed', 2, traceback, began, moment, ttl)
if ttl == 0 then remember_end(prefix, token, 'failed')
elseif worker == '' then
  -- Its enqueuer ran it: RQ does not note when such a job failed.
  redis.call('HSET', key, 'ended_at', '', 'aiorq_ended_at', iso(moment))
end
return part and 'failed ' .. part or 'failed'
