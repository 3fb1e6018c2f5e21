#!lua flags=allow-oom
-- Deal with a job that a worker of RQ's took from its queue and did not begin, as RQ does: it fails a minute after it was
-- first seen so, unless it has retries left.
-- queued -> queued | scheduled | failed | nothing (when failures are kept for 0 seconds)
--
-- KEYS[1] RQ's list of what was taken from the queue
-- ARGV[1] prefix, ARGV[2] queue, ARGV[3] id, ARGV[4] seconds that a worker of RQ's has to begin,
-- ARGV[5] traceback as RQ stores it, ARGV[6] seconds to keep a job that does not say so itself
-- Returns 'waits', 'dropped' (the job is gone, or elsewhere; only the entry was removed), 'retried' or 'failed'.
-- @include keys
-- @include clock
-- @include dates
-- @include stops
-- @include job
-- @include execution
-- @include retry
-- @include failure
local taken, prefix, queue, id, patience = KEYS[1], ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local traceback, kept = ARGV[5], tonumber(ARGV[6])
local moment = now()
local fields = redis.pcall('HMGET', job_key(prefix, id), 'status', 'failure_ttl')
local status, ttl = unpack(fields.err and {} or fields)
if status ~= 'queued' or redis.call('EXISTS', executions_key(prefix, id)) == 1 then
  redis.call('LREM', taken, 1, id)
  return 'dropped'
end
local seen = first_seen_key(prefix, queue, id)
redis.pcall('SET', seen, epoch(moment), 'NX', 'EX', 86400)
local first = redis.pcall('GET', seen)
if moment - (type(first) == 'string' and tonumber(first) or moment) <= patience then return 'waits' end
if redis.call('LREM', taken, 1, id) == 0 then return 'dropped' end
if retry_job(prefix, queue, id, moment) then return 'retried' end
ttl = tonumber(ttl or nil) or kept
enter_failed(prefix, queue, id, moment, ttl)
leave_failed(prefix, '', id, '', 'failed', 2, traceback, moment, moment, ttl)
return 'failed'
