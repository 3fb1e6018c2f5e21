#!lua flags=allow-oom
-- Take a worker out of RQ's books; its hash stays for a minute with the time of its death. An inbox to which Redis handed
-- an id at the very end stays known, so that it is looked into (see overdue.lua). What the worker had claimed and never
-- heard of, since the answer was lost, goes back to the head of its queue. The scheduler locks that it holds are free then.
-- started -> queued
--
-- KEYS[1] worker, KEYS[2] set of workers
-- ARGV[1] prefix, ARGV[2] worker, ARGV[3] its boot, then the queues' names
-- Returns 'ok', or 'taken': the entry is not of this process (any more), nothing was changed.
-- @include keys
-- @include clock
-- @include dates
-- @include stops
-- @include place
-- @include job
-- @include execution
local key, workers = KEYS[1], KEYS[2]
local prefix, worker, boot = ARGV[1], ARGV[2], ARGV[3]

-- The last of a claim first, so that the first comes back to the very head.
local function runs_of(set)
  local members = redis.pcall('SMEMBERS', set)
  if members.err then return {} end
  table.sort(members, function(one, other)
    return string.match(one, '[^:]*$') > string.match(other, '[^:]*$')
  end)
  return members
end

local theirs, birth, death = unpack(redis.call('HMGET', key, 'aiorq_boot', 'birth', 'death'))
if birth and theirs ~= boot then return 'taken' end
for _, member in ipairs(runs_of(worker_executions_key(prefix, worker))) do
  local id, token = string.match(member, '^([^:]*):(.*)$')
  local fields = id and redis.pcall('HMGET', job_key(prefix, id), 'origin', 'aiorq_held') or {}
  local queue, held = fields[1], fields[2]
  if queue and held == token and holds(prefix, queue, id, token) and put_back(prefix, queue, id) then
    end_execution(prefix, worker, queue, id, token, 'queued')
  end
end
redis.call('SREM', workers, key)
for index = 4, #ARGV do
  redis.call('SREM', queue_workers_key(prefix, ARGV[index]), key)
  if redis.call('EXISTS', inbox_key(prefix, worker, ARGV[index])) == 0 then
    redis.call('SREM', inboxes_key(prefix), worker .. ':' .. ARGV[index])
  end
end
local scheduler = scheduler_key(prefix, worker)
if redis.pcall('HGET', scheduler, 'aiorq_boot') == boot then
  for index = 4, #ARGV do
    local lock = scheduler_lock_key(prefix, ARGV[index])
    if redis.pcall('GET', lock) == worker then redis.call('DEL', lock) end
  end
  redis.call('DEL', scheduler)
end
if redis.pcall('GET', leader_key(prefix)) == worker then redis.call('DEL', leader_key(prefix)) end
if birth and not death then
  redis.call('HSET', key, 'death', iso(now()))
  redis.call('EXPIRE', key, 60)
end
redis.call('DEL', worker_executions_key(prefix, worker))
return 'ok'
