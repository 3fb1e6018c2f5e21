-- Jobs that wait for others, their parents, and what the end of a parent means for them.
-- A parent that is gone counts as met, since one that finished expires; but not where it failed, was stopped or canceled
-- before, which its dependents then remember (`aiorq_barred`) until it has finished after all.

-- More parents than these are kept in a list of their own (see keep_unmet).
local MANY_PARENTS = 16
-- More dependents than these are not looked at in the step that ends their parent.
local MANY_DEPENDENTS = 100

-- Whether a parent does not stand in the way (any more); `allow` when its failure does not either.
local function is_met(prefix, parent, allow)
  local status = redis.pcall('HGET', job_key(prefix, parent), 'status')
  if not status then return redis.call('EXISTS', job_key(prefix, parent)) == 0 end
  return type(status) == 'table' or status == 'finished' or (allow and status == 'failed')
end

-- Of a job with many parents keep for a day those that it waits for, and an empty text behind them, so that the end of each
-- costs a look at one more, and not at all.
local function keep_unmet(prefix, id, unmet)
  local known = waits_key(prefix, id)
  redis.call('DEL', known)
  if #unmet <= MANY_PARENTS then return end
  for index = 1, #unmet, 1000 do redis.call('RPUSH', known, unpack(unmet, index, math.min(index + 999, #unmet))) end
  redis.call('RPUSH', known, '')
  redis.call('EXPIRE', known, 86400)
end

-- Whether a job waits for a parent other than `ended`.
local function is_waiting(prefix, id, allow, ended)
  local known = waits_key(prefix, id)
  while true do
    local parent = redis.call('LINDEX', known, 0)
    if not parent then break end
    if parent == '' then return false end
    if parent ~= ended and not is_met(prefix, parent, allow) then return true end
    redis.call('LPOP', known)
  end
  local parents = redis.pcall('SMEMBERS', dependencies_key(prefix, id))
  local unmet = {}
  for _, parent in ipairs(parents.err and {} or parents) do
    if parent ~= ended and not is_met(prefix, parent, allow) then unmet[#unmet + 1] = parent end
  end
  keep_unmet(prefix, id, unmet)
  return #unmet > 0
end

-- Give a job its next place that is deferred and waits for nothing any more but `ended`, which has ended so: 'finished';
-- 'failed'; 'stopped' (or canceled); 'gone' where it is not there any more; or 'passed' where it does not count any more what
-- becomes of it. Returns 'enqueued' and the queue; 'waits' when it goes on waiting; 'canceled' when it was; or 'elsewhere':
-- it is not deferred, or gone, or does not wait for `ended` any more, whatever becomes of that.
local function enqueue_dependent(prefix, id, ended, how, moment)
  local key = job_key(prefix, id)
  local fields = redis.pcall('HMGET', key, 'status', 'origin', 'allow_dependency_failures', 'enqueue_at_front',
    'aiorq_at_front', 'aiorq_at', 'rate_limit_key', 'rate_limit_concurrency', 'ttl', 'aiorq_barred')
  local status, queue, allow, front, first, at, limit, concurrency, ttl, barred = unpack(fields.err and {} or fields)
  if status ~= 'deferred' or not queue then return status == 'canceled' and status or 'elsewhere' end
  allow = allow == '1'
  if how == 'stopped' or (how == 'failed' and not allow) then
    -- Another job of its id may have waited for it.
    if redis.pcall('SISMEMBER', dependencies_key(prefix, id), ended) == 0 then return 'elsewhere' end
    redis.call('HSET', key, 'aiorq_barred', ended)
    return 'waits'
  end
  if barred == ended and how ~= 'gone' then
    redis.call('HDEL', key, 'aiorq_barred')
  elseif barred and (barred == ended or redis.call('EXISTS', job_key(prefix, barred)) == 0) then
    return 'waits'
  end
  if is_waiting(prefix, id, allow, ended) then
    if (how ~= 'gone' and how ~= 'passed') or ended == '' then return 'waits' end
    -- It may still be there, canceled, or come to be there again.
    redis.pcall('SREM', dependencies_key(prefix, id), ended)
    redis.call('LREM', waits_key(prefix, id), 0, ended)
    return 'elsewhere'
  end
  local fit = pcall(place_job, prefix, queue, id, moment, front == '1' or first == '1', tonumber(at or nil), limit or nil,
    concurrency or nil)
  if not fit then return 'waits' end
  redis.pcall('ZREM', registry_key(prefix, 'deferred', queue), id)
  redis.pcall('SADD', queues_key(prefix), queue_key(prefix, queue))
  redis.call('DEL', waits_key(prefix, id))
  redis.call('HDEL', key, 'aiorq_barred')
  keep_waiting(prefix, id, ttl)
  return 'enqueued', queue
end

-- Whether a job is named among those that wait for `ended` once that has ended so: RQ leaves canceled ones there.
local function stays_named(became, how)
  return became == 'waits' or (became == 'canceled' and (how == 'finished' or how == 'failed'))
end

-- Look at the jobs that wait for one that has ended (`how`: see above). Where they are many they are set apart, to be
-- looked at some at a time (see enqueue_dependents.lua). Returns queue and id of each job that was enqueued, in turn; and the
-- part that was set apart, or nil.
local function end_parent(prefix, id, how, moment)
  local set = dependents_key(prefix, id)
  local count = redis.pcall('SCARD', set)
  local enqueued = {}
  if type(count) == 'table' or count == 0 then return enqueued end
  if count > MANY_DEPENDENTS then
    local part = id .. ':' .. epoch(moment)
    -- Both keys are ours alone: what is there of another type is garbage.
    local parting = parting_key(prefix, part)
    if type(redis.pcall('SUNIONSTORE', parting, parting, set)) == 'table' then redis.call('SUNIONSTORE', parting, set) end
    redis.call('DEL', set)
    if type(redis.pcall('HSET', ended_parents_key(prefix), part, how)) == 'table' then
      redis.call('DEL', ended_parents_key(prefix))
      redis.call('HSET', ended_parents_key(prefix), part, how)
    end
    return enqueued, part
  end
  for _, child in ipairs(redis.call('SMEMBERS', set)) do
    local became, queue = enqueue_dependent(prefix, child, id, how, moment)
    if how ~= 'stopped' and not stays_named(became, how) then redis.call('SREM', set, child) end
    if became == 'enqueued' then
      enqueued[#enqueued + 1] = queue
      enqueued[#enqueued + 1] = child
    end
  end
  return enqueued
end
