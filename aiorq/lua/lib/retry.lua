-- The retries of a job that failed.

-- Give a job that has retries left its next place, and count one down; returns that place, or nil when none is left.
-- The first interval is for the first retry, and the last one repeats. Where the next place is a key of another type this
-- raises, and nothing was changed.
local function retry_job(prefix, queue, id, moment)
  local key = job_key(prefix, id)
  local left, intervals, front, most, ttl =
    unpack(redis.call('HMGET', key, 'retries_left', 'retry_intervals', 'enqueue_at_front_on_retry', 'aiorq_retries', 'ttl'))
  left = tonumber(left or nil)
  if not left or not (left >= 1 and left <= 2 ^ 53) then return nil end
  most = tonumber(most or nil) or left
  local read, list = pcall(cjson.decode, intervals or '[]')
  local interval = 0
  if read and type(list) == 'table' and #list > 0 then
    interval = tonumber(list[math.max(1, math.min(most - left + 1, #list))]) or 0
  end
  local place
  if interval > 0 then
    interval = math.min(interval, 3153600000)
    redis.call('ZADD', registry_key(prefix, 'scheduled', queue), moment + interval, id)
    place = 'scheduled'
    redis.call('HSET', key, 'status', place)
  else
    redis.call(front == '1' and 'LPUSH' or 'RPUSH', queue_key(prefix, queue), id)
    place = 'queued'
    redis.call('HSET', key, 'status', place, 'enqueued_at', iso(moment))
  end
  redis.call('HSET', key, 'retries_left', left - 1, 'aiorq_retries', most)
  redis.pcall('SADD', queues_key(prefix), queue_key(prefix, queue))
  keep_waiting(prefix, id, ttl)
  return place
end
