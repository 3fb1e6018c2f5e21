#!lua flags=allow-oom
-- Record that a run was stopped because somebody asked for it. It is not tried again.
-- started -> stopped | nothing (at once, when failures are kept for 0 seconds)
--
-- KEYS[1] job
-- ARGV[1] prefix, ARGV[2] worker, ARGV[3] queue, ARGV[4] id, ARGV[5] execution id,
-- ARGV[6] traceback as RQ stores it, ARGV[7] seconds to keep the job (0 deletes it, negative keeps it for ever)
-- Returns 'ok' (also when this very outcome was recorded before), or 'lost': the run no longer holds its place, nothing
-- was changed.
-- @include keys
-- @include clock
-- @include dates
-- @include stops
-- @include place
-- @include job
-- @include execution
-- @include dependents
-- @include failure
local prefix, worker, queue, id, token = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local traceback, ttl = ARGV[6], tonumber(ARGV[7])
if not holds(prefix, queue, id, token) then
  local before = outcome_recorded(prefix, id, token, '3', traceback)
  return (before == true or before == 'stopped') and 'ok' or 'lost'
end
local moment = now()
enter_failed(prefix, queue, id, moment, ttl)
local began = end_execution(prefix, worker, queue, id, token, 'stopped') or moment
count_run(prefix, worker, 'failed_job_count', moment - began)
leave_failed(prefix, worker, queue, id, token, 'stopped', 3, traceback, began, moment, ttl)
if ttl == 0 then remember_end(prefix, token, 'stopped') end
return 'ok'
