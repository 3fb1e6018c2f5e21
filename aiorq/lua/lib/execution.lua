-- A run of a job: its token is the execution id, its lease the score in `wip`.
-- The zset of executions and the execution's hash outlive the lease by a minute, so that RQ's readers never see one
-- without the other. A job that was claimed and whose run has not begun yet has the token in its field `aiorq_held`.

-- Write to a key that is ours alone; what holds something else there is garbage and is replaced.
local function overwrite(command, key, ...)
  local reply = redis.pcall(command, key, ...)
  if type(reply) == 'table' and reply.err then
    if string.find(reply.err, 'WRONGTYPE', 1, true) then redis.call('DEL', key) end
    redis.call(command, key, ...)
  end
end

-- False when the registry of what runs cannot be written: nothing was changed.
local function enter_execution(prefix, worker, queue, id, token, now_seconds, lease, on_lost)
  local execution = execution_key(prefix, id, token)
  local executions = executions_key(prefix, id)
  local stamp = epoch(now_seconds)
  local entered = redis.pcall('ZADD', registry_key(prefix, 'wip', queue), now_seconds + lease, id .. ':' .. token)
  if type(entered) == 'table' then return false end
  redis.call('HSET', execution, 'id', token, 'job_id', id, 'created_at', stamp, 'last_heartbeat', stamp,
    'worker_name', worker)
  if on_lost ~= '' then redis.call('HSET', execution, 'aiorq_on_lost', on_lost) end
  redis.call('EXPIRE', execution, math.ceil(lease) + 60)
  overwrite('ZADD', executions, now_seconds + lease + 60, token)
  redis.call('EXPIRE', executions, math.ceil(lease) + 60)
  if worker ~= '' then overwrite('SADD', worker_executions_key(prefix, worker), id .. ':' .. token) end
  return true
end

-- True while the run still holds its place: nobody reaped, stopped or deleted it, and its job is there.
local function holds(prefix, queue, id, token)
  return type(redis.pcall('ZSCORE', registry_key(prefix, 'wip', queue), id .. ':' .. token)) == 'string'
    and redis.call('TYPE', job_key(prefix, id)).ok == 'hash'
end

-- Take note that a run has begun, now; the second time it changes nothing.
local function mark_begun(prefix, id, token, stamp, date)
  local key = job_key(prefix, id)
  if redis.call('HGET', key, 'aiorq_held') == token then
    redis.call('HDEL', key, 'aiorq_held')
    redis.call('HSET', key, 'started_at', date)
    local execution = execution_key(prefix, id, token)
    if redis.call('TYPE', execution).ok == 'hash' then redis.call('HSET', execution, 'created_at', stamp) end
  end
end

-- Take a run off the books; returns when it began, in seconds, or nil where that is not known.
local function end_execution(prefix, worker, queue, id, token, word)
  local execution = execution_key(prefix, id, token)
  local began = redis.pcall('HGET', execution, 'created_at')
  redis.call('DEL', execution)
  redis.pcall('ZREM', executions_key(prefix, id), token)
  redis.call('ZREM', registry_key(prefix, 'wip', queue), id .. ':' .. token)
  redis.pcall('SREM', worker_executions_key(prefix, worker), id .. ':' .. token)
  answer_stop(prefix, worker, token, word)
  began = type(began) == 'string' and tonumber(began)
  return began and began >= 0 and began <= 2 ^ 53 and began or nil
end

-- What became of a run whose worker says how it ended and does not hold it any more: a word (see `remember_end`), or
-- true, when that very outcome is on record: the script ran before and its reply was lost. False when the outcome is
-- another one, such as that of whoever took the run from its worker.
local function outcome_recorded(prefix, id, token, kind, text)
  local word = redis.pcall('GET', ended_key(prefix, token))
  if type(word) == 'string' then return word end
  local newest = redis.pcall('XREVRANGE', results_key(prefix, id), '+', '-', 'COUNT', 1)[1]
  if not newest then return false end
  local entry = {}
  for index = 1, #newest[2], 2 do entry[newest[2][index]] = newest[2][index + 1] end
  return (entry.execution_id or entry.aiorq_execution_id) == token and entry.type == kind
    and (entry.return_value or entry.exc_string or '') == text
end

-- Remember for a minute how a run has ended which left no outcome: the call may be sent again.
local function remember_end(prefix, token, word) redis.call('SET', ended_key(prefix, token), word, 'EX', 60) end

-- One entry in the stream of results, which holds the last ten (RQ's: about ten); kept for `ttl` seconds, for ever when
-- it is negative. `attempts` is how many came before, false where there were none. Where no worker ran the job RQ says
-- nothing of its run.
local function record_result(prefix, worker, id, token, kind, field, value, began, ended, ttl, attempts)
  local results = results_key(prefix, id)
  local entry = {'type', kind, 'worker_name', worker, 'execution_id', token,
    'execution_started_at', epoch(began), 'execution_ended_at', epoch(ended)}
  if worker == '' then
    for index = 5, 9, 2 do entry[index] = 'aiorq_' .. entry[index] end
  end
  attempts = tonumber(attempts or nil)
  if attempts then
    entry[#entry + 1] = 'aiorq_attempt'
    entry[#entry + 1] = attempts + 1
  end
  if value ~= '' then
    entry[#entry + 1] = field
    entry[#entry + 1] = value
  end
  overwrite('XADD', results, 'MAXLEN', 10, '*', unpack(entry))
  if ttl > 0 then redis.call('EXPIRE', results, ttl) else redis.call('PERSIST', results) end
end

-- Counters of the worker, in RQ's fields; `idle` when this was its last run. They must not stand in the way of an
-- outcome.
local function count_run(prefix, worker, field, seconds)
  local key = worker_key(prefix, worker)
  if redis.call('TYPE', key).ok ~= 'hash' then return end
  redis.pcall('HINCRBY', key, field, 1)
  redis.pcall('HINCRBYFLOAT', key, 'total_working_time', string.format('%.6f', seconds))
  if redis.pcall('SCARD', worker_executions_key(prefix, worker)) == 0 then redis.call('HSET', key, 'state', 'idle') end
end
