-- A run of a job: its token is the execution id, its lease the score in `wip`.
-- The zset of executions and the execution's hash outlive the lease by a minute, so that RQ's readers never see one without the other.
local function begin_execution(prefix, worker, queue, id, token, now_seconds, lease)
  local execution = execution_key(prefix, id, token)
  local executions = executions_key(prefix, id)
  local stamp = epoch(now_seconds)
  redis.call('HSET', execution, 'id', token, 'job_id', id, 'created_at', stamp, 'last_heartbeat', stamp, 'worker_name', worker)
  redis.call('EXPIRE', execution, math.ceil(lease) + 60)
  redis.call('ZADD', executions, now_seconds + lease + 60, token)
  redis.call('EXPIRE', executions, math.ceil(lease) + 60)
  redis.call('ZADD', registry_key(prefix, 'wip', queue), now_seconds + lease, id .. ':' .. token)
  redis.call('SADD', worker_executions_key(prefix, worker), id .. ':' .. token)
end

-- True while the run still holds its place: nobody reaped, stopped or deleted it.
local function holds(prefix, queue, id, token)
  return redis.call('ZSCORE', registry_key(prefix, 'wip', queue), id .. ':' .. token)
end

local function end_execution(prefix, worker, queue, id, token)
  redis.call('DEL', execution_key(prefix, id, token))
  redis.call('ZREM', executions_key(prefix, id), token)
  redis.call('ZREM', registry_key(prefix, 'wip', queue), id .. ':' .. token)
  redis.call('SREM', worker_executions_key(prefix, worker), id .. ':' .. token)
end

-- True when the newest outcome of the job is that of this run: the script ran before and its reply was lost.
local function outcome_recorded(prefix, id, token)
  local newest = redis.call('XREVRANGE', results_key(prefix, id), '+', '-', 'COUNT', 1)[1]
  if not newest then return false end
  for index = 1, #newest[2], 2 do
    if newest[2][index] == 'execution_id' then return newest[2][index + 1] == token end
  end
  return false
end

-- One entry in the stream of results; kept for `ttl` seconds, for ever when it is negative.
local function record_result(prefix, worker, id, token, kind, field, value, began, ended, ttl)
  local results = results_key(prefix, id)
  local entry = {'type', kind, 'worker_name', worker, 'execution_id', token,
    'execution_started_at', began, 'execution_ended_at', epoch(ended)}
  if value ~= '' then
    entry[#entry + 1] = field
    entry[#entry + 1] = value
  end
  redis.call('XADD', results, 'MAXLEN', '~', 10, '*', unpack(entry))
  if ttl > 0 then redis.call('EXPIRE', results, ttl) else redis.call('PERSIST', results) end
end

-- Counters of the worker, in RQ's fields; `idle` when this was its last run.
local function count_run(prefix, worker, field, seconds)
  local key = worker_key(prefix, worker)
  if redis.call('EXISTS', key) == 0 then return end
  redis.call('HINCRBY', key, field, 1)
  redis.call('HINCRBYFLOAT', key, 'total_working_time', string.format('%.6f', seconds))
  if redis.call('SCARD', worker_executions_key(prefix, worker)) == 0 then redis.call('HSET', key, 'state', 'idle') end
end
