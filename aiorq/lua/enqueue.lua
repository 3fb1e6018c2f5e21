#!lua
-- Put jobs on their queues: each job is written and listed, or is not there at all.
-- nothing | any state but started -> queued
--
-- KEYS[1] set of queues
-- ARGV[1] prefix
-- then for each job: id, queue, nonce, front ('1' for the front of the queue), ttl (seconds, '' for ever),
--                    n, and n texts: field, value, field, value ...
-- Returns the time of the server as RQ's text, then a word for each job:
--   queued    it is in its queue (also when the same call was sent before)
--   running   a job of that id runs; nothing was changed
--   unfit     the key of that id holds no hash; nothing was changed
--   unlisted  the key of the queue holds no list; nothing was changed
--
-- A nonce tells two calls for the same id from one call that was sent twice. An empty nonce says that the id is new, a
-- random one: a job of that id can then only be the work of the same call.
-- @include keys
-- @include clock
-- @include dates
-- @include stops
-- @include job
local queues, prefix = KEYS[1], ARGV[1]
local stamp = iso(now())
local reply = {stamp}
local fit, entered = {}, {}

local function is_list(list)
  if fit[list] == nil then
    local kind = redis.call('TYPE', list).ok
    fit[list] = kind == 'list' or kind == 'none'
  end
  return fit[list]
end

local index = 2
while index <= #ARGV do
  local id, queue, nonce, front, ttl, count = unpack(ARGV, index, index + 5)
  local first, last = index + 6, index + 5 + tonumber(count)
  local key, list = job_key(prefix, id), queue_key(prefix, queue)
  local word = is_list(list) and 'queued' or 'unlisted'
  local known = redis.call('EXISTS', key) == 1
  local repeated = known and nonce == ''
  -- It may even have run and gone since.
  if not known then repeated = redis.pcall('GET', gone_key(prefix, id)) == '=' .. nonce end
  local status, origin, seen, worker
  if known and not repeated then
    local fields = redis.pcall('HMGET', key, 'status', 'origin', 'aiorq_nonce', 'worker_name')
    if fields.err then word = 'unfit'
    else
      status, origin, seen, worker = unpack(fields)
      if seen == nonce then repeated = true
      elseif status == 'started' and redis.call('EXISTS', executions_key(prefix, id)) == 1 then word = 'running' end
    end
  end
  if word == 'queued' and not repeated then
    if not entered[list] then
      redis.call('SADD', queues, list)
      entered[list] = true
    end
    if known then
      -- A new life under an old id: only the jobs that wait for it stay.
      if status and origin then leave_place(prefix, id, status, origin, worker, 'replaced') end
      redis.call('DEL', key, dependencies_key(prefix, id), results_key(prefix, id))
      redis.call('PERSIST', dependents_key(prefix, id))
    end
    redis.call('HSET', key, 'status', 'queued', 'enqueued_at', stamp, unpack(ARGV, first, last))
    if nonce ~= '' then redis.call('HSET', key, 'aiorq_nonce', nonce) end
    if ttl ~= '' then expire_job(prefix, id, ttl) end
    redis.call(front == '1' and 'LPUSH' or 'RPUSH', list, id)
  end
  reply[#reply + 1] = word
  index = last + 1
end
return reply
