-- Putting a new job on its queue where it asks for nothing else, as most do.

-- What the jobs of one call share.
local function new_batch(prefix, queues, moment)
  return {prefix = prefix, queues = queues, moment = moment, stamp = iso(moment), fit = {}, entered = {}}
end

local function holds_kind(batch, key, kind)
  if batch.fit[key] == nil then
    local held = redis.call('TYPE', key).ok
    batch.fit[key] = held == kind or held == 'none'
  end
  return batch.fit[key]
end

-- Have a queue among those that were ever used.
local function enter_queue(batch, list)
  if not batch.entered[list] then
    redis.call('SADD', batch.queues, list)
    batch.entered[list] = true
  end
end

-- Write a job and put it on its queue.
local function push_job(batch, id, list, front, ...)
  redis.call('HSET', job_key(batch.prefix, id), 'status', 'queued', 'enqueued_at', batch.stamp, ...)
  redis.call(front == '1' and 'LPUSH' or 'RPUSH', list, id)
end

-- Put a job on its queue that asks for nothing else and whose id is new. `texts` from `index` on are what enqueue.lua's
-- header says of a job; returns `queued` and the index behind, or nil where there is more to see to: nothing was changed.
local function enqueue_plain(batch, texts, index)
  local id, queue, nonce, front, ttl, count, more = unpack(texts, index, index + 6)
  if nonce ~= '' or more ~= '0' then return nil end
  local prefix = batch.prefix
  local key, list = job_key(prefix, id), queue_key(prefix, queue)
  if not holds_kind(batch, list, 'list') or redis.call('EXISTS', key, gone_key(prefix, id)) > 0 then return nil end
  local last = index + 6 + tonumber(count)
  enter_queue(batch, list)
  push_job(batch, id, list, front, unpack(texts, index + 7, last))
  if ttl ~= '' then redis.call('EXPIRE', key, ttl) end
  return 'queued', last + 1
end
