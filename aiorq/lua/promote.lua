#!lua flags=allow-oom
-- Put a job on its queue that is due, or whose dependencies RQ found to be met.
-- scheduled | ready_to_enqueue -> queued
--
-- KEYS[1] registry that lists it, KEYS[2] queue, KEYS[3] set of queues
-- ARGV[1] prefix, ARGV[2] id, ARGV[3] the status that it should have
-- Returns 'queued'; 'early' when it is not due yet, or 'held' when the queue's key holds no list, and nothing was changed;
-- or 'dropped': the job is gone, or elsewhere, and only the entry was removed.
-- @include keys
-- @include clock
-- @include dates
-- @include job
local registry, list, queues = KEYS[1], KEYS[2], KEYS[3]
local prefix, id, expected = ARGV[1], ARGV[2], ARGV[3]
local moment = now()
local score = tonumber(redis.pcall('ZSCORE', registry, id) or nil)
if not score then return 'dropped' end
if expected == 'scheduled' and score > moment then return 'early' end
local key = job_key(prefix, id)
local fields = redis.pcall('HMGET', key, 'status', 'enqueue_at_front', 'ttl')
local status, front, ttl = unpack(fields.err and {} or fields)
if status ~= expected then
  redis.call('ZREM', registry, id)
  return 'dropped'
end
if type(redis.pcall(front == '1' and 'LPUSH' or 'RPUSH', list, id)) ~= 'number' then return 'held' end
redis.call('ZREM', registry, id)
redis.pcall('SADD', queues, list)
redis.call('HSET', key, 'status', 'queued', 'enqueued_at', iso(moment))
keep_waiting(prefix, id, ttl)
return 'queued'
