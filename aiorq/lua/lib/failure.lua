-- A run that ends without a result and is not tried again, and what a job keeps of it.

-- Move a job whose run has ended to the failed ones, or delete it where failures are kept for 0 seconds. Its entry in
-- the registry comes first: that key may be of another type, and then nothing is half done.
local function enter_failed(prefix, queue, id, moment, ttl)
  if ttl ~= 0 then
    redis.call('ZADD', registry_key(prefix, 'failed', queue), ttl > 0 and math.floor(moment) + ttl or -1, id)
  end
end

local function leave_failed(prefix, worker, id, token, status, kind, traceback, began, moment, ttl)
  if ttl == 0 then return delete_ended_job(prefix, id) end
  local key, stamp = job_key(prefix, id), iso(moment)
  redis.call('HSET', key, 'status', status, 'ended_at', stamp, 'last_heartbeat', stamp)
  record_result(prefix, worker, id, token, kind, 'exc_string', traceback, began, moment, ttl)
  if ttl > 0 then expire_job(prefix, id, ttl) end
end
