#!lua flags=allow-oom
-- Take a worker out of RQ's books; its hash stays for a minute with the time of its death.
-- no change of state
--
-- KEYS[1] worker, KEYS[2] set of workers
-- ARGV[1] prefix, ARGV[2] worker, ARGV[3] its boot, then the queues' names
-- Returns 'ok', or 'taken': the entry is not of this process (any more), nothing was changed.
-- @include keys
-- @include clock
-- @include dates
local key, workers = KEYS[1], KEYS[2]
local prefix, worker, boot = ARGV[1], ARGV[2], ARGV[3]
local theirs, birth, death = unpack(redis.call('HMGET', key, 'aiorq_boot', 'birth', 'death'))
if birth and theirs ~= boot then return 'taken' end
redis.call('SREM', workers, key)
for index = 4, #ARGV do redis.call('SREM', queue_workers_key(prefix, ARGV[index]), key) end
for index = 4, #ARGV do redis.call('SREM', inboxes_key(prefix), worker .. ':' .. ARGV[index]) end
if redis.pcall('GET', leader_key(prefix)) == worker then redis.call('DEL', leader_key(prefix)) end
if birth and not death then
  redis.call('HSET', key, 'death', iso(now()))
  redis.call('EXPIRE', key, 60)
end
redis.call('DEL', worker_executions_key(prefix, worker))
return 'ok'
