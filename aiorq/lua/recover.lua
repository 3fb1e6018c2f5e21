#!lua flags=allow-oom
-- Deal with a job that a worker of RQ's took from its queue and did not begin, as RQ does: it fails a minute after it was
-- first seen so, unless it has retries left.
-- queued -> queued | scheduled | failed | nothing (when failures are kept for 0 seconds)
--
-- KEYS[1] RQ's list of what was taken from the queue
-- ARGV[1] prefix, ARGV[2] queue, ARGV[3] id, ARGV[4] seconds that a worker of RQ's has to begin,
-- ARGV[5] traceback as RQ stores it, ARGV[6] seconds to keep a job that does not say so itself, ARGV[7] dotted names of the
-- class of the exception that it fails with and of those it derives from, joined by commas, ARGV[8] a random number from 0 to
-- 1, for the jitter of intervals
-- Returns 'waits' (a worker may still begin it, or a key that should take it is of another type), 'dropped' (the job is
-- gone, or elsewhere; only the entry was removed), 'retried' or 'failed'.
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
local taken, prefix, queue, id, patience = KEYS[1], ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local traceback, kept, kinds, chance = ARGV[5], tonumber(ARGV[6]), ARGV[7], tonumber(ARGV[8])
local moment = now()
local key, seen = job_key(prefix, id), first_seen_key(prefix, queue, id)
local fields = redis.pcall('HMGET', key, 'status', 'enqueued_at', 'failure_ttl', 'aiorq_taken')
local status, enqueued_at, ttl, noted = unpack(fields.err and {} or fields)
if type(redis.pcall('LPOS', taken, id)) ~= 'number' then return 'dropped' end

local function leave(word)
  redis.call('LREM', taken, 1, id)
  redis.call('DEL', seen)
  return word
end

if status ~= 'queued' then return leave('dropped') end
-- RQ enters the run first and says then that the job is started. If its worker ends in between, its lease does too.
if redis.call('EXISTS', executions_key(prefix, id)) == 1 then return 'waits' end
-- A note of when it was taken is of no worth once it was in its queue again.
local first = noted == (enqueued_at or '') and redis.pcall('GET', seen)
first = type(first) == 'string' and tonumber(first)
if not first or first > moment then
  redis.call('SET', seen, epoch(moment), 'EX', 86400)
  redis.call('HSET', key, 'aiorq_taken', enqueued_at or '')
  return 'waits'
end
if not (moment - first > patience) then return 'waits' end
-- Enqueued anew under its id: it has its place.
if type(redis.pcall('LPOS', queue_key(prefix, queue), id)) == 'number' then return leave('dropped') end
local fit, place = pcall(retry_job, prefix, queue, id, moment, kinds, chance)
if not fit then return 'waits' end
if place then
  note_attempt(prefix, id, 'lost', '', '', moment, moment, traceback)
  return leave('retried')
end
ttl = kept_for(ttl, kept)
if not pcall(enter_failed, prefix, queue, id, moment, ttl) then return 'waits' end
leave_failed(prefix, '', queue, id, '', 'failed', 2, traceback, moment, moment, ttl)
return leave('failed')
