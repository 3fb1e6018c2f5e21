#!lua flags=allow-oom
-- Renew the leases of all runs of a worker, and the worker's own heartbeat.
-- no change of state
--
-- KEYS[1] worker
-- ARGV[1] prefix, ARGV[2] worker, ARGV[3] its boot, ARGV[4] lease (seconds), ARGV[5] ttl of the worker (seconds)
-- then for each run: queue, id, execution id, 1 when it has begun (0 otherwise)
-- Returns 'known' or 'unknown', then the requests to stop runs (execution id, seconds, ...), then for each run 1, or 0
-- when it does not hold its place any more: it was taken from the worker.
-- A worker whose entry is gone (expired, flushed), or another's, is 'unknown' and registers anew; its leases are renewed
-- all the same.
-- @include keys
-- @include clock
-- @include dates
-- @include stops
-- @include execution
local wkey, prefix, worker, boot = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local lease, worker_ttl = tonumber(ARGV[4]), tonumber(ARGV[5])
local moment = now()
local stamp, date = epoch(moment), iso(moment)
local own = worker_executions_key(prefix, worker)
local entry = redis.pcall('HMGET', wkey, 'aiorq_boot', 'birth')
local alive = not entry.err and entry[2] and entry[1] == boot
local stops = redis.pcall('HGETALL', stops_key(prefix, worker))
local reply = {alive and 'known' or 'unknown', stops.err and {} or stops}
if alive then
  redis.call('HSET', wkey, 'last_heartbeat', date)
  redis.call('EXPIRE', wkey, worker_ttl)
end
for index = 6, #ARGV, 4 do
  local queue, id, token, begun = ARGV[index], ARGV[index + 1], ARGV[index + 2], ARGV[index + 3]
  local held = holds(prefix, queue, id, token)
  if held then
    local execution, executions = execution_key(prefix, id, token), executions_key(prefix, id)
    if redis.call('EXPIRE', execution, math.ceil(lease) + 60) == 0
      or type(redis.pcall('HSET', execution, 'last_heartbeat', stamp)) == 'table' then
      -- It expired while its worker could not be heard; RQ's readers need all of it.
      redis.call('DEL', execution)
      redis.call('HSET', execution, 'id', token, 'job_id', id, 'created_at', stamp,
        'last_heartbeat', stamp, 'worker_name', worker)
      redis.call('EXPIRE', execution, math.ceil(lease) + 60)
    end
    overwrite('ZADD', executions, moment + lease + 60, token)
    redis.call('EXPIRE', executions, math.ceil(lease) + 60)
    redis.call('ZADD', registry_key(prefix, 'wip', queue), 'XX', moment + lease, id .. ':' .. token)
    redis.call('HSET', job_key(prefix, id), 'last_heartbeat', date)
    if begun == '1' then mark_begun(prefix, id, token, stamp, date) end
    -- The set may have expired too, and a claim may have made it anew.
    overwrite('SADD', own, id .. ':' .. token)
  end
  reply[#reply + 1] = held and 1 or 0
end
redis.call('EXPIRE', own, worker_ttl)
return reply
