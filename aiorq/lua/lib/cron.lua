-- The jobs of the entries of cron.

local cron_waiting = {queued = true, deferred = true, scheduled = true, rate_limited = true, ready_to_enqueue = true}

-- Whether a job of an entry is in the way of the next one: `policy` is `skip`, where none may wait or run, or `queue`, where
-- one may run. Its last ten jobs are looked at.
local function is_overlapped(prefix, name, policy)
  if policy == 'allow' then return false end
  local ids = redis.pcall('ZREVRANGE', cron_history_key(prefix, name), 0, 9)
  for _, id in ipairs(ids.err and {} or ids) do
    local status = redis.pcall('HGET', job_key(prefix, id), 'status')
    if type(status) == 'string' and (cron_waiting[status] or (status == 'started' and policy == 'skip')) then return true end
  end
  return false
end

-- Enqueue a job of an entry. `call` is what is said of it: id, queue, nonce, front, ttl, when it may run ('' for now), and then
-- wishes, all as enqueue.lua takes them; its fields are those that are kept with the entry. `slot` is the text of its time,
-- '' for none. Returns the word of `enqueue_one`. The entry and RQ's history name the job.
local function enqueue_of_entry(batch, name, slot, call)
  local prefix = batch.prefix
  local fields = redis.pcall('HGETALL', cron_fields_key(prefix, name))
  if fields.err or #fields == 0 then return 'unfit' end
  local own = {'created_at', batch.stamp, 'aiorq_cron', name}
  if slot ~= '' then own[5], own[6] = 'aiorq_slot', slot end
  local id, queue, nonce, front, ttl, at = unpack(call, 1, 6)
  local wishes = {unpack(call, 7)}
  if at ~= '' then wishes[#wishes + 1] = 't:' .. at end
  local texts = {id, queue, nonce, front, ttl, #fields + #own, tostring(#wishes)}
  for _, list in ipairs({fields, own, wishes}) do
    for _, text in ipairs(list) do texts[#texts + 1] = text end
  end
  local word = enqueue_one(batch, texts, 1)
  if word ~= 'queued' and not cron_waiting[word] then return word end
  local state, history = cron_state_key(prefix, name), cron_history_key(prefix, name)
  if redis.pcall('ZADD', history, batch.moment, id) == 1 then redis.pcall('HINCRBY', state, 'enqueued', 1) end
  redis.pcall('ZREMRANGEBYRANK', history, 0, -1001)
  redis.call('EXPIRE', history, 31536000)
  redis.pcall('ZADD', cron_jobs_key(prefix), batch.moment, name)
  redis.pcall('ZREMRANGEBYSCORE', cron_jobs_key(prefix), '-inf', batch.moment - 31536000)
  redis.call('HSET', state, 'job', id, 'ran', epoch(batch.moment))
  return word
end
