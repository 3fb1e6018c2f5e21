#!lua flags=allow-oom
-- Renew the leases of all runs of a worker, and the worker's own heartbeat.
-- started -> started
--
-- KEYS[1] worker
-- ARGV[1] prefix, ARGV[2] worker, ARGV[3] lease (seconds), ARGV[4] ttl of the worker (seconds)
-- then for each run: queue, id, execution id
-- Returns the number of runs (0 or 1 each) that still hold their place; a run that does not was taken from the worker.
-- A worker whose hash is gone (expired, flushed) gets 'unknown' and registers anew; its leases are renewed all the same.
-- @include keys
-- @include clock
-- @include dates
-- @include execution
local wkey, prefix, worker = KEYS[1], ARGV[1], ARGV[2]
local lease, worker_ttl = tonumber(ARGV[3]), tonumber(ARGV[4])
local moment = now()
local stamp, date = epoch(moment), iso(moment)
local alive = redis.call('EXISTS', wkey) == 1
local reply = {alive and 'known' or 'unknown'}
if alive then
  redis.call('HSET', wkey, 'last_heartbeat', date)
  redis.call('EXPIRE', wkey, worker_ttl)
  redis.call('EXPIRE', worker_executions_key(prefix, worker), worker_ttl)
end
for index = 5, #ARGV, 3 do
  local queue, id, token = ARGV[index], ARGV[index + 1], ARGV[index + 2]
  local held = holds(prefix, queue, id, token) and redis.call('EXISTS', job_key(prefix, id)) == 1
  if held then
    local execution, executions = execution_key(prefix, id, token), executions_key(prefix, id)
    redis.call('HSET', execution, 'last_heartbeat', stamp)
    redis.call('EXPIRE', execution, math.ceil(lease) + 60)
    redis.call('ZADD', executions, moment + lease + 60, token)
    redis.call('EXPIRE', executions, math.ceil(lease) + 60)
    redis.call('ZADD', registry_key(prefix, 'wip', queue), 'XX', moment + lease, id .. ':' .. token)
    redis.call('HSET', job_key(prefix, id), 'last_heartbeat', date)
  end
  reply[#reply + 1] = held and 1 or 0
end
return reply
