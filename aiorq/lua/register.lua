#!lua flags=allow-oom
-- Enter a worker into RQ's books, or enter it anew after they were lost.
-- no change of state
--
-- KEYS[1] worker, KEYS[2] set of workers
-- ARGV[1] prefix, ARGV[2] worker, ARGV[3] ttl (seconds), ARGV[4] its boot: a text of this process alone,
-- ARGV[5] number of queues, then the queues' names, then field, value, field, value ...
-- Returns 'ok', or 'taken': another live worker has the name, nothing was changed.
-- @include keys
-- @include clock
-- @include dates
local key, workers = KEYS[1], KEYS[2]
local prefix, worker, ttl, boot, queues = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local entry = redis.pcall('HMGET', key, 'aiorq_boot', 'birth', 'death')
if entry.err then
  redis.call('DEL', key)
  entry = {}
end
local theirs, birth, death = unpack(entry)
-- A hash without a birth is nobody's: a claim after the books were lost left it.
if birth and not death and theirs ~= boot then return 'taken' end
local stamp = iso(now())
if birth and theirs ~= boot then redis.call('DEL', key, worker_executions_key(prefix, worker)) end
redis.call('HSETNX', key, 'birth', stamp)
redis.call('HSET', key, 'last_heartbeat', stamp, 'aiorq_boot', boot, unpack(ARGV, 6 + queues))
redis.call('EXPIRE', key, ttl)
redis.call('SADD', workers, key)
for index = 6, 5 + queues do
  redis.call('SADD', queue_workers_key(prefix, ARGV[index]), key)
  redis.call('SADD', inboxes_key(prefix), worker .. ':' .. ARGV[index])
end
return 'ok'
