#!lua flags=allow-oom
-- Hand back runs that did not begin: each job returns to the head of its queue as if it had not been claimed.
-- started -> queued
--
-- KEYS pairs of a worker's inbox and a queue's list; what is in an inbox goes back to the head of its queue too
-- ARGV[1] prefix, ARGV[2] worker, then for each run, the last claimed first: queue, id, execution id
-- Returns the number of jobs that were handed back from runs; runs that no longer hold their place are left alone.
-- @include keys
-- @include job
-- @include execution
local prefix, worker = ARGV[1], ARGV[2]
local handed = 0
for index = 3, #ARGV, 3 do
  local queue, id, token = ARGV[index], ARGV[index + 1], ARGV[index + 2]
  if holds(prefix, queue, id, token) then
    local key = job_key(prefix, id)
    redis.call('DEL', execution_key(prefix, id, token))
    redis.call('ZREM', executions_key(prefix, id), token)
    redis.call('ZREM', registry_key(prefix, 'wip', queue), id .. ':' .. token)
    redis.call('SREM', worker_executions_key(prefix, worker), id .. ':' .. token)
    if redis.call('EXISTS', key) == 1 then
      redis.call('HSET', key, 'status', 'queued', 'started_at', '', 'last_heartbeat', '', 'worker_name', '')
      local ttl = redis.call('HGET', key, 'ttl')
      if ttl then expire_job(prefix, id, ttl) end
      redis.call('LPUSH', queue_key(prefix, queue), id)
      handed = handed + 1
    end
  end
end
for index = 1, #KEYS, 2 do
  while redis.call('LMOVE', KEYS[index], KEYS[index + 1], 'RIGHT', 'LEFT') do end
end
if redis.call('EXISTS', worker_key(prefix, worker)) == 1 and redis.call('SCARD', worker_executions_key(prefix, worker)) == 0 then
  redis.call('HSET', worker_key(prefix, worker), 'state', 'idle')
end
return handed
