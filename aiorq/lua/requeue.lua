#!lua
-- Put a job on its queue that has ended, for another run, or that waits for others or for its time, and is not to any more.
-- What became of it before stays among its results.
-- failed | stopped | finished | canceled | deferred | scheduled -> queued | rate_limited
--
-- KEYS[1] job
-- ARGV[1] prefix, ARGV[2] id, ARGV[3] the registry that it must be in (`failed`, `finished`, ...),
-- ARGV[4] '1' for the front of the queue, ARGV[5] nonce of this call
-- Returns 'queued' or 'rate_limited' (also when this very call was sent before) and the time of the server as RQ's text; or
-- 'missing' when there is no such job, 'unfit' when its key holds no hash, 'elsewhere' when it is not in that registry.
-- @include keys
-- @include clock
-- @include dates
-- @include stops
-- @include place
-- @include job
local key, prefix, id, kind, front, nonce = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local fields = redis.pcall('HMGET', key, 'status', 'origin', 'ttl', 'rate_limit_key', 'rate_limit_concurrency', 'aiorq_requeue',
  'enqueued_at')
if fields.err then return {'unfit'} end
local status, queue, ttl, limit, concurrency, seen, enqueued_at = unpack(fields)
if redis.call('EXISTS', key) == 0 then return {'missing'} end
if seen == nonce then return {status == 'rate_limited' and status or 'queued', enqueued_at or ''} end
local registry = status == 'stopped' and 'failed' or status
if registry ~= kind or not queue or type(redis.pcall('ZSCORE', registry_key(prefix, kind, queue), id)) ~= 'string' then
  return {'elsewhere'}
end
local moment = now()
-- Behind a rate limit the job goes to where this call says, whatever was said before.
if limit then
  check_limit(prefix, limit)
  redis.call('HSET', key, 'enqueue_at_front', front)
end
local place = place_job(prefix, queue, id, moment, front == '1', nil, limit or nil, concurrency or nil)
redis.call('ZREM', registry_key(prefix, kind, queue), id)
redis.pcall('SADD', queues_key(prefix), queue_key(prefix, queue))
-- An empty text, compressed: RQs before 1.0 kept the traceback there, which is of the past now.
redis.call('HSET', key, 'started_at', '', 'ended_at', '', 'exc_info', '\120\156\3\0\0\0\0\1', 'aiorq_requeue', nonce,
  'aiorq_since', epoch(moment))
redis.call('HDEL', key, 'aiorq_losses', 'aiorq_barred', 'aiorq_cancel', 'aiorq_stop', 'aiorq_attempts', 'aiorq_ended_at')
redis.call('DEL', attempts_key(prefix, id), waits_key(prefix, id))
keep_job(prefix, id, math.max(-1, math.min(kept_for(ttl, -1), 3153600000)))
return {place, iso(moment)}
