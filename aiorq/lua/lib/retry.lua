-- The retries of a job that failed.

-- Whether an exception is one to try again after: `kinds` are the dotted names of its class and of those it derives from,
-- joined by commas; `only` and `never` JSON lists of names, or false.
local function is_retried(kinds, only, never)
  local function names(text)
    local read, list = pcall(cjson.decode, text or '[]')
    return read and type(list) == 'table' and list or {}
  end
  local function has(list)
    for _, name in ipairs(list) do
      if type(name) == 'string' and string.find(',' .. kinds .. ',', ',' .. name .. ',', 1, true) then return true end
    end
    return false
  end
  only = names(only)
  return not has(names(never)) and (#only == 0 or has(only))
end

-- Put a job that is tried again after `interval` seconds at its next place; returns that place.
local function place_again(prefix, queue, id, moment, interval, front, ttl)
  local key, place = job_key(prefix, id), 'queued'
  if interval > 0 then
    interval = math.min(interval, 3153600000)
    schedule_job(prefix, queue, id, moment + interval, moment)
    place = 'scheduled'
    redis.call('HSET', key, 'status', place)
  else
    redis.call(front and 'LPUSH' or 'RPUSH', queue_key(prefix, queue), id)
    redis.call('HSET', key, 'status', place, 'enqueued_at', iso(moment))
  end
  redis.pcall('SADD', queues_key(prefix), queue_key(prefix, queue))
  keep_waiting(prefix, id, ttl)
  -- A job that is queued again at once keeps its slot of a rate limit.
  local limit = place == 'scheduled' and redis.call('HGET', key, 'rate_limit_key')
  if limit then release_slot(prefix, limit, id, moment) end
  return place
end

-- The interval of a list for the nth time that a job is tried again; the last one repeats.
local function interval_of(text, number)
  local read, list = pcall(cjson.decode, text or '[]')
  if not read or type(list) ~= 'table' or #list == 0 then return 0 end
  local seconds = tonumber(list[math.max(1, math.min(number, #list))]) or 0
  return seconds > 0 and seconds or 0
end

-- Give a job that has retries left its next place, and count one down; returns that place, or nil when none is left, or
-- none for such an exception. The first interval is for the first retry, and the last one repeats; `chance`, 0 to 1, says
-- how much of the jitter is added or taken away. Where the next place is a key of another type this raises, and nothing
-- was changed.
local function retry_job(prefix, queue, id, moment, kinds, chance)
  local key = job_key(prefix, id)
  local left, intervals, front, most, ttl, jitter, only, never =
    unpack(redis.call('HMGET', key, 'retries_left', 'retry_intervals', 'enqueue_at_front_on_retry', 'aiorq_retries', 'ttl',
      'aiorq_jitter', 'aiorq_retry_on', 'aiorq_never'))
  left = tonumber(left or nil)
  if not left or not (left >= 1 and left <= 2 ^ 53) then return nil end
  if (only or never) and not is_retried(kinds, only, never) then return nil end
  most = tonumber(most or nil) or left
  local interval = interval_of(intervals, most - left + 1)
  jitter = tonumber(jitter or nil)
  if jitter and jitter >= 0 and jitter <= 1 then interval = interval * (1 + jitter * (2 * chance - 1)) end
  local place = place_again(prefix, queue, id, moment, interval, front == '1', ttl)
  redis.call('HSET', key, 'retries_left', left - 1, 'aiorq_retries', most)
  return place
end
