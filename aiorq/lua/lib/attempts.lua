-- The attempts of a job that were followed by another one; the last one is among its results.

-- Keep what became of an attempt, as long as the job, and count it. `how` is a word; the traceback is as RQ stores it.
local function note_attempt(prefix, id, how, worker, token, began, ended, traceback)
  local key, list = job_key(prefix, id), attempts_key(prefix, id)
  local number = redis.pcall('HINCRBY', key, 'aiorq_attempts', 1)
  if type(number) == 'table' then
    number = 1
    redis.call('HSET', key, 'aiorq_attempts', number)
  end
  overwrite('RPUSH', list, cjson.encode({number = number, outcome = how, worker_name = worker, execution_id = token,
    started_at = epoch(began), ended_at = epoch(ended), exc_string = traceback}))
  redis.call('LTRIM', list, -20, -1)
  local ttl = redis.call('TTL', key)
  redis.call('EXPIRE', list, ttl > 0 and ttl or 31536000)
end
