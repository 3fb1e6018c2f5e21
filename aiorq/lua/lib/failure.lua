-- A run that ends without a result and is not tried again, and what a job keeps of it.

-- Move a job whose run has ended to the failed ones. Its entry in the registry comes first: that key may be of another
-- type, and then nothing is half done. Where failures are kept for 0 seconds the time of the entry is over at once: nobody
-- is shown it, and the next sweep takes it out (RQ).
local function enter_failed(prefix, queue, id, moment, ttl)
  redis.call('ZADD', registry_key(prefix, 'failed', queue), ttl >= 0 and math.floor(moment) + ttl or -1, id)
end

-- `text` is the traceback, or, of a run that asked to be tried again (kind 5), what it returned. Returns the part of the
-- dependents that was set apart, or nil (see end_parent).
local function leave_failed(prefix, worker, queue, id, token, status, kind, text, began, moment, ttl)
  local key, stamp = job_key(prefix, id), iso(moment)
  local limit, repeats, attempts = unpack(redis.call('HMGET', key, 'rate_limit_key', 'repeat_intervals', 'aiorq_attempts'))
  redis.call('HSET', key, 'status', status, 'ended_at', stamp, 'last_heartbeat', stamp)
  if limit then release_slot(prefix, limit, id, moment) end
  if repeats then redis.pcall('ZREM', registry_key(prefix, 'finished', queue), id) end
  local _, part = end_parent(prefix, id, status, moment)
  if ttl == 0 then
    delete_ended_job(prefix, id)
    return part
  end
  record_result(prefix, worker, id, token, kind, kind == 5 and 'return_value' or 'exc_string', text, began, moment, ttl, attempts)
  if ttl > 0 then expire_job(prefix, id, ttl) end
  return part
end
