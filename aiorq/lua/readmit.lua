#!lua flags=allow-oom
-- Put a job where it waits for its run that has nothing else left to wait for: its parents have ended, who was to push it has
-- died, or nothing lists it.
-- created | deferred | ready_to_enqueue | rate_limited -> queued | scheduled | rate_limited
--
-- KEYS[1] job
-- ARGV[1] prefix, ARGV[2] id, ARGV[3] queue, ARGV[4] the status it was found in ('' where it had none), then for each
-- parent: id, and the status it was found in ('' where it is gone or has none)
-- Returns 'repaired', or 'changed': something is not as it was found, or its place is a key of another type; nothing was
-- changed.
-- @include keys
-- @include clock
-- @include dates
-- @include stops
-- @include place
-- @include job
local key, prefix, id, queue, found = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
if redis.call('TYPE', key).ok ~= 'hash' then return 'changed' end
local status, front, first, at, limit, concurrency, ttl = unpack(redis.call('HMGET', key, 'status', 'enqueue_at_front',
  'aiorq_at_front', 'aiorq_at', 'rate_limit_key', 'rate_limit_concurrency', 'ttl'))
if (status or '') ~= found then return 'changed' end
for index = 5, #ARGV, 2 do
  local other = redis.pcall('HGET', job_key(prefix, ARGV[index]), 'status') or ''
  if other ~= ARGV[index + 1] then return 'changed' end
end
local moment = now()
local list = queue_key(prefix, queue)
local position = redis.pcall('LPOS', list, id)
if type(position) == 'table' and position.err then return 'changed' end
if found == 'rate_limited' and limit and redis.pcall('ZSCORE', limited_key(prefix, limit), id) then return 'changed' end
if position then
  redis.call('HSET', key, 'status', 'queued', 'enqueued_at', iso(moment))
else
  -- Who is behind its rate limit already has waited for its time.
  at = found == 'deferred' and tonumber(at or nil) or nil
  first = front == '1' or (found == 'deferred' and first == '1')
  if not pcall(place_job, prefix, queue, id, moment, first, at, limit or nil, concurrency or nil) then return 'changed' end
end
if found == 'deferred' then redis.pcall('ZREM', registry_key(prefix, 'deferred', queue), id)
elseif found == 'ready_to_enqueue' then redis.pcall('ZREM', registry_key(prefix, 'ready', queue), id) end
for index = 5, #ARGV, 2 do redis.pcall('SREM', dependents_key(prefix, ARGV[index]), id) end
redis.call('DEL', waits_key(prefix, id))
redis.pcall('SADD', queues_key(prefix), list)
keep_waiting(prefix, id, ttl)
return 'repaired'
