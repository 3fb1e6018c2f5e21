-- Putting one job where it waits for its run, whatever it asks for; with plain_enqueue for what most ask for.

-- What the texts behind the fields say.
local function read_wishes(batch, texts, first, last)
  local wishes, parents = {}, {}
  for index = first, last do
    local letter, text = string.sub(texts[index], 1, 1), string.sub(texts[index], 3)
    if letter == 'p' then parents[#parents + 1] = text else wishes[letter] = text end
  end
  wishes.parents = parents
  if wishes.d then wishes.t = epoch(batch.moment + tonumber(wishes.d)) end
  return wishes
end

-- Whether a job is among those that its parents wait for, or they again, as far as they are deferred. `known` is false for
-- an id that was made at random and can be nobody's yet but, by mistake, its own.
local function closes_cycle(prefix, id, parents, known)
  for _, parent in ipairs(parents) do
    if parent == id then return true end
  end
  if not known then return false end
  local seen, left = {}, {}
  for _, parent in ipairs(parents) do left[#left + 1] = parent end
  while #left > 0 do
    local parent = table.remove(left)
    if parent == id then return true end
    if not seen[parent] then
      seen[parent] = true
      if redis.pcall('HGET', job_key(prefix, parent), 'status') == 'deferred' then
        local above = redis.pcall('SMEMBERS', dependencies_key(prefix, parent))
        for _, one in ipairs(above.err and {} or above) do left[#left + 1] = one end
      end
    end
  end
  return false
end

-- Where a job waits for others: enter it there; false when none of them stands in the way.
local function defer(batch, id, queue, front, wishes)
  local prefix = batch.prefix
  local allow, unmet = wishes.a ~= nil, {}
  for _, parent in ipairs(wishes.parents) do
    if not is_met(prefix, parent, allow) then unmet[#unmet + 1] = parent end
  end
  if #unmet == 0 then return false end
  redis.call('ZADD', registry_key(prefix, 'deferred', queue), math.floor(batch.moment), id)
  redis.call('DEL', dependencies_key(prefix, id))
  for _, parent in ipairs(wishes.parents) do
    -- What is known of a parent goes with it; one that is not there is not waited for, should it ever come.
    local left = redis.call('PTTL', job_key(prefix, parent))
    if left ~= -2 then
      redis.call('SADD', dependencies_key(prefix, id), parent)
      redis.pcall('SADD', dependents_key(prefix, parent), id)
      if left > 0 then redis.call('PEXPIRE', dependents_key(prefix, parent), left) end
    end
  end
  keep_unmet(prefix, id, unmet)
  redis.call('HSET', job_key(prefix, id), 'status', 'deferred')
  -- For the time when it is enqueued; RQ forgets both.
  if front then redis.call('HSET', job_key(prefix, id), 'aiorq_at_front', 1) end
  if wishes.t then redis.call('HSET', job_key(prefix, id), 'aiorq_at', wishes.t) end
  return true
end

-- Put a job that asks for more than a queue at its place.
local function place_wished(batch, id, queue, front, wishes)
  local prefix, moment, stamp = batch.prefix, batch.moment, batch.stamp
  if wishes.g then
    redis.call('SADD', group_key(prefix, wishes.g), id)
    redis.call('SADD', groups_key(prefix), wishes.g)
  end
  if #wishes.parents > 0 and defer(batch, id, queue, front, wishes) then return 'deferred' end
  if not wishes.r then return place_job(prefix, queue, id, moment, front, tonumber(wishes.t), wishes.l, wishes.c) end
  enter_execution(prefix, '', queue, id, wishes.r, moment, tonumber(wishes.s), '')
  redis.call('HSET', job_key(prefix, id), 'status', 'started', 'enqueued_at', stamp, 'started_at', stamp,
    'last_heartbeat', stamp)
  return 'started'
end

-- Whether the keys that a place needs are of their types.
local function is_placeable(batch, queue, wishes)
  local prefix = batch.prefix
  if not holds_kind(batch, queue_key(prefix, queue), 'list') then return false end
  if not wishes then return true end
  return holds_kind(batch, registry_key(prefix, 'deferred', queue), 'zset')
    and holds_kind(batch, registry_key(prefix, 'scheduled', queue), 'zset')
    and holds_kind(batch, registry_key(prefix, 'wip', queue), 'zset')
    and (not wishes.l or (holds_kind(batch, limited_key(prefix, wishes.l), 'zset')
      and holds_kind(batch, limit_key(prefix, wishes.l), 'hash') and holds_kind(batch, limits_key(prefix), 'set')))
    and (not wishes.g or (holds_kind(batch, group_key(prefix, wishes.g), 'set')
      and holds_kind(batch, groups_key(prefix), 'set')))
end

-- Put one job where it waits for its run. `texts` from `index` on are what enqueue.lua's header says of a job; returns the
-- word that it says for what became of it, and the index behind.
local function enqueue_one(batch, texts, index)
  local prefix = batch.prefix
  local id, queue, nonce, front, ttl, count, more = unpack(texts, index, index + 6)
  local first, last = index + 7, index + 6 + tonumber(count)
  local wishes = more ~= '0' and read_wishes(batch, texts, last + 1, last + tonumber(more)) or nil
  local key, list = job_key(prefix, id), queue_key(prefix, queue)
  local fit = batch.fit[list]
  if wishes or fit == nil then fit = is_placeable(batch, queue, wishes) end
  local word = fit and 'queued' or 'unlisted'
  local known = redis.call('EXISTS', key) == 1
  local repeated = known and nonce == ''
  -- It may even have run and gone since.
  if not known and batch.some_gone then repeated = redis.pcall('GET', gone_key(prefix, id)) == '=' .. nonce end
  local status, origin, seen, worker, group
  if known then
    local fields = redis.pcall('HMGET', key, 'status', 'origin', 'aiorq_nonce', 'worker_name', 'group_id')
    if fields.err then word = repeated and word or 'unfit'
    else
      status, origin, seen, worker, group = unpack(fields)
      if repeated or seen == nonce then
        repeated = true
        -- Of one that has left these states, queued.
        if word == 'queued' and (status == 'deferred' or status == 'scheduled' or status == 'rate_limited'
          or (status == 'started' and wishes and wishes.r)) then word = status end
      elseif wishes and wishes.u then word = 'exists'
      elseif status == 'started' and redis.call('EXISTS', executions_key(prefix, id)) == 1 then word = 'running' end
    end
  end
  if word == 'queued' and not repeated and wishes and #wishes.parents > 0 and closes_cycle(prefix, id, wishes.parents, nonce ~= '') then
    word = 'cycle'
  end
  if word == 'queued' and not repeated then
    enter_queue(batch, list)
    if known then
      -- A new life under an old id: only the jobs that wait for it stay.
      if status and origin then leave_place(prefix, id, status, origin, worker, 'replaced') end
      if group and group ~= '' then redis.pcall('SREM', group_key(prefix, group), id) end
      redis.call('DEL', key, dependencies_key(prefix, id), results_key(prefix, id))
    end
    if nonce ~= '' then
      redis.call('PERSIST', dependents_key(prefix, id))
      redis.call('DEL', attempts_key(prefix, id))
      redis.call('HSET', key, 'aiorq_nonce', nonce)
    end
    if wishes then
      redis.call('HSET', key, unpack(texts, first, last))
      word = place_wished(batch, id, queue, front == '1', wishes)
    else
      push_job(batch, id, list, front, texts, first, last)
    end
    if ttl ~= '' and word ~= 'started' then expire_job(prefix, id, ttl) end
  end
  return word, last + 1 + tonumber(more)
end
