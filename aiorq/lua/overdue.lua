#!lua flags=allow-oom
-- Find what nobody looks after: expired leases, jobs that are due, what RQ left between two steps, inboxes with jobs in
-- them. Only one worker looks at a time.
-- no change of state
--
-- KEYS[1] set of queues
-- ARGV[1] prefix, ARGV[2] worker, ARGV[3] seconds that it then leads the others, ARGV[4] cursor into the queues, first '0',
-- ARGV[5] how many queues and how many findings of each kind for a queue, at most
-- Returns 'led' when another worker looks, or the next cursor ('0' at the end) and the findings, each a list:
--   'lease', queue, member of `wip`, worker ('' unless known), last heartbeat (seconds, '' unless known)
--   'due', queue, id: scheduled for now or for before
--   'ready', queue, id: its dependencies are met and RQ has not listed it yet
--   'intermediate', queue, id: a worker of RQ's has taken it and not begun
--   'inbox', queue, worker, id: the first one that Redis handed to a worker
--   'parent', '', part: dependents of an ended job that were not looked at yet (see enqueue_dependents.lua)
-- A queue whose schedule a scheduler of RQ's looks after has no 'due' and no 'ready'.
-- Dead workers, whose hash is gone, are taken out of the sets of workers.
-- @include keys
-- @include clock
-- @include scheduler
local queues, prefix, worker, ttl = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3])
local cursor, most = ARGV[4], tonumber(ARGV[5])
local leader = redis.pcall('GET', leader_key(prefix))
if type(leader) == 'string' and leader ~= worker then return 'led' end
redis.call('SET', leader_key(prefix), worker, 'PX', math.ceil(ttl * 1000))
local moment = now()
local found = {}

local function list(command, ...)
  local reply = redis.pcall(command, ...)
  return type(reply) == 'table' and not reply.err and reply or {}
end

local dead = {}
for _, key in ipairs(list('SMEMBERS', workers_key(prefix))) do
  if redis.call('EXISTS', key) == 0 then
    dead[#dead + 1] = key
    redis.call('SREM', workers_key(prefix), key)
  end
end

local function look(queue)
  local wip = registry_key(prefix, 'wip', queue)
  for _, member in ipairs(list('ZRANGE', wip, '-inf', moment, 'BYSCORE', 'LIMIT', 0, most)) do
    local id, token = string.match(member, '^([^:]*):?(.*)$')
    local named = list('HMGET', execution_key(prefix, id, token), 'worker_name', 'last_heartbeat')
    found[#found + 1] = {'lease', queue, member, named[1] or '', named[2] or ''}
  end
  if not is_left_to_rq(prefix, queue) then
    local scheduled = registry_key(prefix, 'scheduled', queue)
    for _, id in ipairs(list('ZRANGE', scheduled, '-inf', moment, 'BYSCORE', 'LIMIT', 0, most)) do
      found[#found + 1] = {'due', queue, id}
    end
    for _, id in ipairs(list('ZRANGE', registry_key(prefix, 'ready', queue), 0, most - 1)) do
      found[#found + 1] = {'ready', queue, id}
    end
  end
  for _, id in ipairs(list('LRANGE', intermediate_key(prefix, queue), 0, most - 1)) do
    found[#found + 1] = {'intermediate', queue, id}
  end
  for _, key in ipairs(dead) do redis.pcall('SREM', queue_workers_key(prefix, queue), key) end
end

if cursor == '0' then
  for _, inbox in ipairs(list('SMEMBERS', inboxes_key(prefix))) do
    local name, queue = string.match(inbox, '^([^:]*):(.*)$')
    local first = name and list('LRANGE', inbox_key(prefix, name, queue), 0, 0)[1]
    if first then found[#found + 1] = {'inbox', queue, name, first}
    elseif not name or redis.call('EXISTS', worker_key(prefix, name)) == 0 then
      redis.call('SREM', inboxes_key(prefix), inbox)
      -- Nothing may ever have been enqueued there: then the queue is not among those that are looked at below.
      if name then redis.pcall('SREM', queue_workers_key(prefix, queue), worker_key(prefix, name)) end
    end
  end
end
if cursor == '0' then
  for _, part in ipairs(list('HKEYS', ended_parents_key(prefix))) do found[#found + 1] = {'parent', '', part} end
end
local head = #queue_key(prefix, '') + 1
local page = list('SSCAN', queues, cursor, 'COUNT', most)
for _, key in ipairs(page[2] or {}) do look(string.sub(key, head)) end
return {page[1] or '0', found}
