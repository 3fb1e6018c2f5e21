#!lua flags=allow-oom
-- Take up to n jobs from queues in strict order; they come back started, leased, held until their
-- run begins (see begin.lua), and with the fields that they had.
-- queued -> started
--
-- KEYS pairs of a worker's inbox and a queue's list, in the order asked for
-- ARGV[1] prefix, ARGV[2] worker, ARGV[3] lease (seconds), ARGV[4] nonce of this call (28 hex digits),
-- ARGV[5] how many at most, ARGV[6] what becomes of the jobs if the worker is lost, where they do not say so themselves
-- ('requeue', or '' to fail them), ARGV[7] '1' to take one job from each queue in turn, in place of strict order
-- The execution id of the nth job is the nonce and n in four hex digits.
-- Returns 'suspended', or the time of the server (seconds), a list of the queues that are paused, and for each job:
-- execution id, queue, id, fields (flat)
--
-- What is in an inbox goes before the rest of its queue, and returns to the head of its queue when it is not taken.
-- Ids whose job is gone (expired, deleted) are dropped and counted, as are ids that are none, of jobs that run
-- already, of canceled ones, and further entries of a job whose id its enqueuer chose. An id that is too long, or whose
-- key is not a hash, is set aside in the registry of failed jobs. A key that should be a list and is none is passed over.
-- Sent again with the same nonce, the call answers the same and takes nothing; what it wrote itself is then in the
-- fields.
-- @include keys
-- @include clock
-- @include dates
-- @include text
-- @include stops
-- @include place
-- @include job
-- @include execution
local prefix, worker, lease, nonce, most = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])
local on_lost, in_turn = ARGV[6], ARGV[7]
local wkey = worker_key(prefix, worker)
local moment = now()
local reply = {epoch(moment), {}}

local function append(list, token, queue, id, fields)
  local length = #list
  list[length + 1], list[length + 2], list[length + 3], list[length + 4] = token, queue, id, fields
end

local said = redis.call('HGET', wkey, 'aiorq_claim')
if said and string.sub(said, 1, #nonce) == nonce then
  local runs = cjson.decode(string.sub(said, #nonce + 1))
  for index = 1, #runs, 3 do
    local token, queue, id = runs[index], runs[index + 1], runs[index + 2]
    if holds(prefix, queue, id, token) then
      append(reply, token, queue, id, redis.call('HGETALL', job_key(prefix, id)))
    end
  end
  return reply
end

local function give_back(inbox, list)
  repeat
    local moved = redis.pcall('LMOVE', inbox, list, 'RIGHT', 'LEFT')
  until type(moved) ~= 'string'
end

if redis.call('EXISTS', suspended_key(prefix)) == 1 then
  for index = 1, #KEYS, 2 do give_back(KEYS[index], KEYS[index + 1]) end
  return 'suspended'
end

local stamp = iso(moment)
local runs = {}
local taken = 0
local head = #queue_key(prefix, '') + 1

local function pop(list)
  local id = redis.pcall('LPOP', list)
  return type(id) == 'string' and id
end

local function drop(queue) redis.pcall('HINCRBY', dropped_key(prefix), queue, 1) end

-- The fields of a job that may run, the queue it says it belongs to, its status, its last worker and how long it might
-- wait; or nothing, with the id disposed of.
local function take(queue, id)
  if not string.match(id, '^[%w_-]+$') then return drop(queue) end
  local fields = redis.pcall('HGETALL', job_key(prefix, id))
  if not fields.err and #fields == 0 then return drop(queue) end
  if fields.err or #id > 255 then
    redis.pcall('ZADD', registry_key(prefix, 'failed', queue), math.floor(moment) + 31536000, id)
    if not fields.err then
      redis.call('HSET', job_key(prefix, id), 'status', 'failed', 'ended_at', stamp)
      expire_job(prefix, id, 31536000)
    end
    return
  end
  local status, home, last_worker, once, ttl, limited
  for index = 1, #fields, 2 do
    local name, value = fields[index], fields[index + 1]
    if name == 'status' then status = value
    elseif name == 'origin' and value ~= '' and is_utf8(value) then home = value
    elseif name == 'worker_name' then last_worker = value
    elseif name == 'ttl' then ttl = value
    elseif name == 'rate_limit_key' then limited = true
    elseif name == 'aiorq_nonce' or name == 'aiorq_requeue' then once = true end
  end
  -- What was enqueued under an id of its own, or requeued, is listed once. Another entry is of a former life, which expired
  -- here or was handed to a worker when the new one came: it must not run twice.
  local elsewhere = status == 'finished' or status == 'failed' or status == 'stopped' or status == 'scheduled'
    or status == 'deferred' or status == 'rate_limited'
    or (status == 'started' and limited) -- it would run without a slot; who reaps its run knows what to do
  if status == 'canceled' or (once and elsewhere)
    or (status == 'started' and redis.call('EXISTS', executions_key(prefix, id)) == 1) then
    return drop(queue)
  end
  return fields, home, status, last_worker, ttl
end

-- The next job of a queue that may run is started; false when there is none.
local function take_next(place)
  while true do
    local id = place.handed and pop(place.inbox)
    if not id then
      place.handed = false
      id = pop(place.list)
    end
    if not id then return false end
    local queue = place.queue
    local fields, home, status, last_worker, ttl = take(queue, id)
    if fields then
      local stray = not home
      home = home or queue
      local token = nonce .. string.format('%04x', taken + 1)
      -- What RQ lists may have a place besides: an ended job that was listed twice, a run that nobody reaped.
      if status and status ~= 'queued' then leave_place(prefix, id, status, home, last_worker, 'replaced') end
      if not enter_execution(prefix, worker, home, id, token, moment, lease, on_lost) then
        redis.call('LPUSH', place.list, id)
        return false
      end
      taken = taken + 1
      local key = job_key(prefix, id)
      redis.call('HSET', key, 'status', 'started', 'started_at', stamp, 'last_heartbeat', stamp, 'worker_name', worker,
        'aiorq_held', token)
      if stray then redis.call('HSET', key, 'origin', home) end -- for whoever looks for its run
      redis.call('PERSIST', key)
      if ttl then -- RQ lets who waits for it be forgotten while it runs
        redis.call('PERSIST', dependents_key(prefix, id))
        redis.call('PERSIST', attempts_key(prefix, id))
      end
      append(runs, token, home, id)
      append(reply, token, home, id, fields)
      return true
    end
  end
end

local pauses = redis.pcall('HKEYS', paused_key(prefix))
local paused = {}
for _, queue in ipairs(pauses.err and {} or pauses) do paused[queue] = true end
local places = {}
for index = 1, #KEYS, 2 do
  local place = {inbox = KEYS[index], list = KEYS[index + 1], queue = string.sub(KEYS[index + 1], head), handed = true}
  if paused[place.queue] then
    reply[2][#reply[2] + 1] = place.queue
    give_back(place.inbox, place.list)
  else
    places[#places + 1] = place
  end
end
local left = places
while #left > 0 and taken < most do
  local more = {}
  for _, place in ipairs(left) do
    if taken < most and take_next(place) then
      if in_turn == '1' then more[#more + 1] = place
      else while taken < most and take_next(place) do end end
    end
  end
  left = more
end
for _, place in ipairs(places) do
  if place.handed then give_back(place.inbox, place.list) end
end
if taken > 0 then
  redis.call('HSET', wkey, 'state', 'busy', 'aiorq_claim', nonce .. cjson.encode(runs))
  redis.call('EXPIRE', wkey, 480)
  redis.call('EXPIRE', worker_executions_key(prefix, worker), 480)
end
return reply
