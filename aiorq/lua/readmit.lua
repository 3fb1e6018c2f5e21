#!lua flags=allow-oom
-- Put a job on its queue that has nothing left to wait for: its parents have ended, or who was to push it has died.
-- created | deferred | ready_to_enqueue -> queued
--
-- KEYS[1] job
-- ARGV[1] prefix, ARGV[2] id, ARGV[3] queue, ARGV[4] the status it was found in ('' where it had none), then for each
-- parent: id, and the status it was found in ('' where it is gone or has none)
-- Returns 'repaired', or 'changed': something is not as it was found, nothing was changed.
-- @include keys
-- @include clock
-- @include dates
-- @include stops
-- @include place
-- @include job
local key, prefix, id, queue, found = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
if redis.call('TYPE', key).ok ~= 'hash' then return 'changed' end
local status, front, ttl = unpack(redis.call('HMGET', key, 'status', 'enqueue_at_front', 'ttl'))
if (status or '') ~= found then return 'changed' end
for index = 5, #ARGV, 2 do
  local other = redis.pcall('HGET', job_key(prefix, ARGV[index]), 'status') or ''
  if other ~= ARGV[index + 1] then return 'changed' end
end
local list = queue_key(prefix, queue)
local position = redis.pcall('LPOS', list, id)
if type(position) == 'table' and position.err then return 'changed' end
if not position then redis.call(front == '1' and 'LPUSH' or 'RPUSH', list, id) end
leave_place(prefix, id, found, queue)
for index = 5, #ARGV, 2 do redis.pcall('SREM', dependents_key(prefix, ARGV[index]), id) end
redis.call('HSET', key, 'status', 'queued', 'enqueued_at', iso(now()))
redis.pcall('SADD', queues_key(prefix), list)
ttl = tonumber(ttl or nil)
if ttl and ttl >= 1 and ttl <= 2 ^ 53 then expire_job(prefix, id, math.floor(ttl)) end
return 'repaired'
