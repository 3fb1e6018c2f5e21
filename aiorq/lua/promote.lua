#!lua flags=allow-oom
-- Put a job on its queue, or behind its rate limit, that is due, or whose dependencies RQ found to be met.
-- scheduled | ready_to_enqueue -> queued | rate_limited
--
-- KEYS[1] registry that lists it, KEYS[2] queue, KEYS[3] set of queues
-- ARGV[1] prefix, ARGV[2] id, ARGV[3] the status that it should have
-- Returns 'queued' or 'rate_limited'; 'early' when it is not due yet, or 'held' when the queue's key holds no list, and nothing was changed;
-- or 'dropped': the job is gone, or elsewhere, and only the entry was removed.
-- @include keys
-- @include clock
-- @include dates
-- @include stops
-- @include place
-- @include job
local registry, list, queues = KEYS[1], KEYS[2], KEYS[3]
local prefix, id, expected = ARGV[1], ARGV[2], ARGV[3]
local moment = now()
local score = tonumber(redis.pcall('ZSCORE', registry, id) or nil)
if not score then return 'dropped' end
if expected == 'scheduled' and score > moment then return 'early' end
local key = job_key(prefix, id)
local fields = redis.pcall('HMGET', key, 'status', 'enqueue_at_front', 'ttl', 'rate_limit_key', 'rate_limit_concurrency',
  'enqueue_at_front_on_retry', 'ended_at')
local status, front, ttl, limit, concurrency, again, ended_at = unpack(fields.err and {} or fields)
if status ~= expected then
  redis.call('ZREM', registry, id)
  return 'dropped'
end
local queue = string.sub(list, #queue_key(prefix, '') + 1)
-- A job that has run before is tried again.
local first = front == '1' or (again == '1' and ended_at and ended_at ~= '')
local fit, place = pcall(place_job, prefix, queue, id, moment, first, nil, limit or nil, concurrency or nil)
if not fit then return 'held' end
redis.call('ZREM', registry, id)
redis.pcall('SADD', queues, list)
keep_waiting(prefix, id, ttl)
return place
