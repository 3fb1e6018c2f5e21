-- The life of a job's keys. A TTL covers the hash and the two sets of its dependencies, as in RQ, and its attempts.
local function expire_job(prefix, id, seconds)
  redis.call('EXPIRE', job_key(prefix, id), seconds)
  redis.call('EXPIRE', dependents_key(prefix, id), seconds)
  redis.call('EXPIRE', dependencies_key(prefix, id), seconds)
  redis.call('EXPIRE', attempts_key(prefix, id), seconds)
end

-- The outcomes of a job have a time of their own, but go with it at the latest: they must not be taken for those of the
-- next job of the same id.
local function limit_results(prefix, id, seconds) redis.call('EXPIRE', results_key(prefix, id), seconds, 'LT') end

-- Keep a job for so many seconds from now, for ever when it is negative: the time that it had before does not count any
-- more.
local function keep_job(prefix, id, seconds)
  local keys = {job_key(prefix, id), dependents_key(prefix, id), dependencies_key(prefix, id), attempts_key(prefix, id)}
  for _, key in ipairs(keys) do
    if seconds > 0 then redis.call('EXPIRE', key, seconds) else redis.call('PERSIST', key) end
  end
  if seconds > 0 then limit_results(prefix, id, seconds) end
end

-- Count the time that a job may wait, where it says so, from now.
local function keep_waiting(prefix, id, ttl)
  local seconds = tonumber(ttl or nil)
  if not (seconds and seconds >= 1 and seconds <= 2 ^ 53) then return end
  expire_job(prefix, id, math.floor(seconds))
  limit_results(prefix, id, math.floor(seconds))
end

-- How many seconds a job is kept after a failure: what it says itself, where that can be understood, or `kept`.
local function kept_for(ttl, kept)
  local seconds = tonumber(ttl or nil)
  if not seconds or not (math.abs(seconds) <= 2 ^ 53) then return kept end
  return math.floor(seconds)
end

-- Put a job that was claimed back at the head of its queue, as if it had not been; false where that is no list, and
-- nothing was changed.
local function put_back(prefix, queue, id)
  if type(redis.pcall('LPUSH', queue_key(prefix, queue), id)) ~= 'number' then return false end
  local key = job_key(prefix, id)
  redis.call('HSET', key, 'status', 'queued', 'started_at', '', 'last_heartbeat', '', 'worker_name', '')
  redis.call('HDEL', key, 'aiorq_held')
  keep_waiting(prefix, id, redis.call('HGET', key, 'ttl'))
  return true
end

-- Delete all that is kept of a job; it is in no place any more.
local function delete_job(prefix, id)
  local group = redis.pcall('HGET', job_key(prefix, id), 'group_id')
  if type(group) == 'string' and group ~= '' then redis.pcall('SREM', group_key(prefix, group), id) end
  redis.call('DEL', job_key(prefix, id), dependencies_key(prefix, id), results_key(prefix, id), attempts_key(prefix, id),
    waits_key(prefix, id))
  -- Who still waits for it, since it ended badly, waits for another job of its id.
  local dependents = dependents_key(prefix, id)
  if redis.call('TYPE', dependents).ok == 'set' then redis.call('EXPIRE', dependents, 31536000)
  else redis.call('DEL', dependents) end
end

-- End the runs of a job that are on the books, and whose outcome is refused from now on; their worker is told to kill
-- them, in a word that RQ's do not know, since they would then record an outcome. Their set may have expired after the lease while
-- nobody reaped them: when `search` is true they are then looked for among all that runs. `word` is for who asked for a
-- run to be stopped.
local function drop_runs(prefix, id, queue, worker, search, word)
  local wip = registry_key(prefix, 'wip', queue)
  local members = {}
  local tokens = redis.pcall('ZRANGE', executions_key(prefix, id), 0, -1)
  if not tokens.err then
    for _, token in ipairs(tokens) do members[#members + 1] = id .. ':' .. token end
  end
  if search and #members == 0 then
    local all = redis.pcall('ZRANGE', wip, 0, -1)
    for _, member in ipairs(all.err and {} or all) do
      if string.sub(member, 1, #id + 1) == id .. ':' then members[#members + 1] = member end
    end
  end
  for _, member in ipairs(members) do
    local token = string.sub(member, #id + 2)
    redis.call('DEL', execution_key(prefix, id, token))
    redis.pcall('ZREM', wip, member)
    if worker then
      redis.pcall('SREM', worker_executions_key(prefix, worker), member)
      answer_stop(prefix, worker, token, word)
      tell_worker(prefix, worker, cjson.encode({command = 'aiorq-dropped', job_id = id, execution_id = token}))
    end
  end
  redis.call('DEL', executions_key(prefix, id))
end

-- Take a job out of the one place that its status names, and out of its rate limit. A key of another type is no such
-- place.
local function leave_place(prefix, id, status, queue, worker, word)
  local limit = redis.pcall('HGET', job_key(prefix, id), 'rate_limit_key')
  if type(limit) == 'string' then release_slot(prefix, limit, id, now()) end
  if status == 'queued' then redis.pcall('LREM', queue_key(prefix, queue), 1, id)
  elseif status == 'started' then drop_runs(prefix, id, queue, worker, true, word)
  elseif status == 'finished' or status == 'canceled' or status == 'deferred' or status == 'scheduled' then
    redis.pcall('ZREM', registry_key(prefix, status, queue), id)
  elseif status == 'failed' or status == 'stopped' then redis.pcall('ZREM', registry_key(prefix, 'failed', queue), id)
  elseif status == 'ready_to_enqueue' then redis.pcall('ZREM', registry_key(prefix, 'ready', queue), id)
  end
  -- A job that repeats stays among the finished ones while it waits for its next run.
  if status ~= 'finished' and redis.pcall('HEXISTS', job_key(prefix, id), 'repeat_intervals') == 1 then
    redis.pcall('ZREM', registry_key(prefix, 'finished', queue), id)
  end
end

-- Delete a job that ended and is not kept, and remember by what call it was enqueued: that may be sent again. Another key
-- says that there is such a memory of any job, so that few enqueues have to look for one of theirs.
local function delete_ended_job(prefix, id)
  local nonce = redis.pcall('HGET', job_key(prefix, id), 'aiorq_nonce')
  delete_job(prefix, id)
  redis.call('SET', gone_key(prefix, id), '=' .. (type(nonce) == 'string' and nonce or ''), 'EX', 60)
  redis.call('SET', some_gone_key(prefix), 1, 'EX', 60)
end
