-- Putting a new job on its queue where it asks for nothing else, as most do.

-- What the jobs of one call share.
local function new_batch(prefix, queues, moment)
  return {prefix = prefix, queues = queues, moment = moment, stamp = iso(moment), fit = {}, entered = {},
    some_gone = redis.call('EXISTS', some_gone_key(prefix)) == 1}
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

-- Write a job, whose fields are among `texts`, and put it on its queue. The fields are in RQ's order and written in one step:
-- a hash that grows so leaves the server's heap in better shape, where it is malloc's.
local function push_job(batch, id, list, front, texts, first, last)
  local one, other = texts[last + 1], texts[last + 2]
  texts[last + 1], texts[last + 2] = 'enqueued_at', batch.stamp
  redis.call('HSET', job_key(batch.prefix, id), 'status', 'queued', unpack(texts, first, last + 2))
  texts[last + 1], texts[last + 2] = one, other
  redis.call(front == '1' and 'LPUSH' or 'RPUSH', list, id)
end

-- Put a job on its queue that asks for nothing else and whose id is new. `texts` from `index` on are what enqueue.lua's
-- header says of a job; returns `queued` and the index behind, or nil where there is more to see to: nothing was changed.
local function enqueue_plain(batch, texts, index)
  local id, queue, nonce, front, ttl, count, more = unpack(texts, index, index + 6)
  if nonce ~= '' or more ~= '0' then return nil end
  local prefix = batch.prefix
  local key, list = job_key(prefix, id), queue_key(prefix, queue)
  if not holds_kind(batch, list, 'list') or redis.call('EXISTS', key) == 1 then return nil end
  -- It may even have run and gone since.
  if batch.some_gone and redis.call('EXISTS', gone_key(prefix, id)) == 1 then return nil end
  local last = index + 6 + tonumber(count)
  enter_queue(batch, list)
  push_job(batch, id, list, front, texts, index + 7, last)
  if ttl ~= '' then redis.call('EXPIRE', key, ttl) end
  return 'queued', last + 1
end
