-- Where a job goes that is to run: on the schedule, behind its rate limit, or to its queue.

-- Raise, before anything was changed, where a key holds another type than it must.
local function check_kind(key, kind)
  local held = redis.call('TYPE', key).ok
  if held ~= kind and held ~= 'none' then error('WRONGTYPE ' .. key .. ' holds a ' .. held .. ', not a ' .. kind) end
end

-- The same for the keys of a rate limit.
local function check_limit(prefix, limit)
  check_kind(limits_key(prefix), 'set')
  check_kind(limit_key(prefix, limit), 'hash')
  check_kind(limited_key(prefix, limit), 'zset')
end

-- Fill the free slots of a rate limit with the jobs that wait for one, the oldest first. An entry whose job is elsewhere,
-- perhaps behind another limit, is dropped; where the queue of the next one is no list, it goes on waiting, and so do those behind it.
local function admit(prefix, limit, concurrency, moment)
  local allowed, limited = allowed_key(prefix, limit), limited_key(prefix, limit)
  while true do
    local held = redis.pcall('ZCARD', allowed)
    if type(held) == 'table' or not (held < concurrency) then return end
    local popped = redis.pcall('ZPOPMIN', limited)
    local id, score = popped[1], popped[2]
    if popped.err or not id then return end
    local key = job_key(prefix, id)
    local fields = redis.pcall('HMGET', key, 'origin', 'status', 'enqueue_at_front', 'rate_limit_key')
    local queue, status, front, waits_for = unpack(fields.err and {} or fields)
    if queue and status == 'rate_limited' and (waits_for or limit) == limit then
      if type(redis.pcall(front == '1' and 'LPUSH' or 'RPUSH', queue_key(prefix, queue), id)) ~= 'number' then
        redis.call('ZADD', limited, score, id)
        return
      end
      redis.pcall('SADD', queues_key(prefix), queue_key(prefix, queue))
      redis.call('ZADD', allowed, moment, id)
      redis.call('HSET', key, 'status', 'queued', 'enqueued_at', iso(moment))
    end
  end
end

-- Take a job out of a rate limit; the slot that it held goes to the next one that waits.
local function release_slot(prefix, limit, id, moment)
  redis.pcall('ZREM', limited_key(prefix, limit), id)
  if redis.pcall('ZREM', allowed_key(prefix, limit), id) == 1 then
    local concurrency = tonumber(redis.pcall('HGET', limit_key(prefix, limit), 'concurrency') or nil)
    if concurrency then admit(prefix, limit, concurrency, moment) end
  end
end

-- List a job as scheduled. Workers sleep until the next job of their queues is due: they hear of one that is due earlier.
local function schedule_job(prefix, queue, id, at, moment)
  local registry = registry_key(prefix, 'scheduled', queue)
  redis.call('ZADD', registry, at, id)
  local later = string.format('(%.17g', moment)
  if redis.call('ZRANGE', registry, later, '+inf', 'BYSCORE', 'LIMIT', 0, 1)[1] == id then
    redis.pcall('PUBLISH', due_key(prefix), epoch(at - moment) .. ' ' .. queue)
  end
end

-- A job may be scheduled without a timeout, and has one when it comes to a queue (RQ): that of the queue on which it was
-- put, or RQ's default.
local function fill_timeout(key)
  if redis.call('HEXISTS', key, 'timeout') == 0 then
    redis.call('HSET', key, 'timeout', redis.call('HGET', key, 'aiorq_timeout') or 180)
  end
end

-- Put a job that is nowhere at the place where it waits for its run; returns the status that it then has. `at` is when it
-- may run at the earliest, `limit` the key of its rate limit, each nil where there is none. Where the place is a key of
-- another type this raises, and nothing was changed.
local function place_job(prefix, queue, id, moment, front, at, limit, concurrency)
  local key = job_key(prefix, id)
  if at and at > moment then
    schedule_job(prefix, queue, id, at, moment)
    redis.call('HSET', key, 'status', 'scheduled')
    return 'scheduled'
  end
  fill_timeout(key)
  if limit then
    check_limit(prefix, limit)
    concurrency = math.max(1, tonumber(concurrency or nil) or 1)
    redis.call('ZADD', limited_key(prefix, limit), moment, id)
    redis.call('SADD', limits_key(prefix), limit)
    redis.call('HSET', limit_key(prefix, limit), 'concurrency', concurrency)
    redis.call('HSET', key, 'status', 'rate_limited')
    if front then redis.call('HSET', key, 'enqueue_at_front', 1) end
    admit(prefix, limit, concurrency, moment)
    return redis.call('HGET', key, 'status')
  end
  redis.call(front and 'LPUSH' or 'RPUSH', queue_key(prefix, queue), id)
  redis.call('HSET', key, 'status', 'queued', 'enqueued_at', iso(moment))
  return 'queued'
end
