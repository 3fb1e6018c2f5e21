#!lua flags=allow-oom
-- End a run whose lease has expired: its worker is gone, or could not be heard for that long.
-- started -> queued | scheduled | failed | nothing (when failures are kept for 0 seconds)
--
-- KEYS[1] registry of what runs
-- ARGV[1] prefix, ARGV[2] queue, ARGV[3] member of the registry, ARGV[4] worker ('' unless known),
-- ARGV[5] what becomes of jobs that do not say so themselves, and whose worker did not ('requeue', or '' to fail them),
-- ARGV[6] how many times a job may be lost and requeued,
-- ARGV[7] traceback as RQ stores it, ARGV[8] the same for a job that was lost too often,
-- ARGV[9] seconds to keep a job that does not say so itself, ARGV[10] dotted names of the class of the exception that it
-- fails with and of those it derives from, joined by commas, ARGV[11] a random number from 0 to 1, for the jitter of intervals
-- Returns what became of it:
--   held       the lease was renewed, the run has ended, or a key that should take the job is of another type; nothing was
--              changed
--   dropped    the job is gone, or is not what runs; only the entry was removed
--   returned   it had not begun and is back at the head of its queue
--   requeued   as was asked for; back at the head of its queue
--   retried    it had retries left and has one less; queued, or scheduled
--   failed     for good
--   poisoned   for good, since it was lost and requeued as often as it may be
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
local wip, prefix, queue, member, worker, on_lost = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local most, traceback, poisoned, kept = tonumber(ARGV[6]), ARGV[7], ARGV[8], tonumber(ARGV[9])
local kinds, chance = ARGV[10], tonumber(ARGV[11])
local moment = now()
local score = tonumber(redis.pcall('ZSCORE', wip, member) or nil)
if not score or score > moment then return 'held' end
local id, token = string.match(member, '^([^:]*):?(.*)$')
local key = job_key(prefix, id)
local fields = redis.pcall('HMGET', key, 'status', 'origin', 'worker_name', 'aiorq_held', 'aiorq_on_lost', 'aiorq_losses',
  'failure_ttl')
local status, origin, last_worker, held, wish, losses, ttl = unpack(fields.err and {} or fields)

-- Take the run off the books; returns when it began, in seconds, or nil where that is not known.
local function leave(word)
  if token ~= '' then return end_execution(prefix, worker, queue, id, token, word) end
  redis.call('ZREM', wip, member) -- without an execution id: an old RQ's
end

local newest = redis.pcall('ZREVRANGE', executions_key(prefix, id), 0, 0)
local other = not newest.err and newest[1] and newest[1] ~= token
if status ~= 'started' or origin ~= queue or other then
  leave('lost')
  return 'dropped'
end
-- The execution expires a minute after the lease; whoever asked for a stop is answered under the worker's name.
if worker == '' then worker = last_worker or '' end
if held == token and token ~= '' then
  if not put_back(prefix, queue, id) then return 'held' end
  leave('queued')
  return 'returned'
end
local theirs = redis.pcall('HGET', execution_key(prefix, id, token), 'aiorq_on_lost')
if not wish or wish == '' then wish = type(theirs) == 'string' and theirs or on_lost end
losses = math.max(0, tonumber(losses or nil) or 0)
if wish == 'requeue' and losses < most then
  if not put_back(prefix, queue, id) then return 'held' end
  redis.call('HSET', key, 'aiorq_losses', losses + 1)
  note_attempt(prefix, id, 'lost', worker, token, leave('queued') or moment, moment, traceback)
  return 'requeued'
end
local fit, place = true, nil
if wish ~= 'requeue' then fit, place = pcall(retry_job, prefix, queue, id, moment, kinds, chance) end
if not fit then return 'held' end
if place then
  redis.call('HSET', key, 'ended_at', iso(moment))
  note_attempt(prefix, id, 'lost', worker, token, leave(place) or moment, moment, traceback)
  return 'retried'
end
ttl = kept_for(ttl, kept)
if not pcall(enter_failed, prefix, queue, id, moment, ttl) then return 'held' end
local began = leave('failed') or moment
if wish == 'requeue' then traceback = poisoned end
leave_failed(prefix, worker, queue, id, token, 'failed', 2, traceback, began, moment, ttl)
return wish == 'requeue' and 'poisoned' or 'failed'
