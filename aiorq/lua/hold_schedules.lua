#!lua flags=allow-oom
-- Hold RQ's scheduler locks of a worker's queues, those that nobody holds and its own, and show the worker as their
-- scheduler: no scheduler of RQ's then looks after what is due there.
-- no change of state
--
-- KEYS the locks
-- ARGV[1] prefix, ARGV[2] worker, ARGV[3] its boot, ARGV[4] seconds for which it holds them, then field, value, field,
-- value ... of the scheduler
-- Returns how many it holds.
-- @include keys
-- @include clock
-- @include dates
local prefix, worker, boot, ttl = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local held = 0
for _, lock in ipairs(KEYS) do
  local holder = redis.pcall('GET', lock)
  if not holder or holder == worker then
    redis.call('SET', lock, worker, 'EX', ttl)
    held = held + 1
  end
end
if held == 0 then return 0 end
local key = scheduler_key(prefix, worker)
-- One of an earlier process of that name, or of another type.
if redis.pcall('HGET', key, 'aiorq_boot') ~= boot then redis.call('DEL', key) end
local stamp = iso(now())
redis.call('HSETNX', key, 'created_at', stamp)
redis.call('HSET', key, 'aiorq_boot', boot, 'last_heartbeat', stamp, unpack(ARGV, 5))
redis.call('EXPIRE', key, ttl)
return held
