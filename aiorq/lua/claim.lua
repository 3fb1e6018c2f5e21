#!lua flags=allow-oom
-- Take up to n jobs from queues in strict order; they come back started, leased and with their fields.
-- queued -> started
--
-- KEYS pairs of a worker's inbox and a queue's list, in the order asked for
-- ARGV[1] prefix, ARGV[2] worker, ARGV[3] lease (seconds), ARGV[4] nonce of this call (28 hex digits), ARGV[5] how many at most
-- The execution id of the nth job is the nonce and n in four hex digits.
-- Returns 'suspended', or the time of the server (seconds) and for each job: execution id, queue, id, fields (flat)
--
-- Ids whose job is gone (expired, deleted) are dropped and counted, as are ids that are none, of jobs that run already, and of canceled ones.
-- An id whose key is not a hash is set aside in the registry of failed jobs. Sent again with the same nonce, the call answers the same and takes nothing.
-- @include keys
-- @include clock
-- @include dates
-- @include job
-- @include execution
local prefix, worker, lease, nonce, most = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])
local wkey = worker_key(prefix, worker)
local moment = now()
local reply = {epoch(moment)}

local function append(list, ...)
  for index = 1, select('#', ...) do list[#list + 1] = select(index, ...) end
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

if redis.call('EXISTS', prefix .. ':suspended') == 1 then
  for index = 1, #KEYS, 2 do
    while redis.call('LMOVE', KEYS[index], KEYS[index + 1], 'RIGHT', 'LEFT') do end
  end
  return 'suspended'
end

local stamp = iso(moment)
local runs = {}
local taken = 0
local head = #(prefix .. ':queue:') + 1

local function drop(queue) redis.call('HINCRBY', prefix .. ':aiorq:dropped', queue, 1) end

-- The fields of a job that may run and the queue it belongs to; or nothing, with the id disposed of.
local function take(queue, id)
  if not string.match(id, '^[%w_-]+$') then return drop(queue) end
  local fields = redis.pcall('HGETALL', job_key(prefix, id))
  if fields.err then
    redis.call('ZADD', registry_key(prefix, 'failed', queue), moment + 31536000, id)
    return
  end
  local status, home
  for index = 1, #fields, 2 do
    if fields[index] == 'status' then status = fields[index + 1]
    elseif fields[index] == 'origin' then home = fields[index + 1] end
  end
  if #fields == 0 or status == 'canceled' or (status == 'started' and redis.call('EXISTS', executions_key(prefix, id)) == 1) then
    return drop(queue)
  end
  return fields, home ~= '' and home or queue
end

for index = 1, #KEYS, 2 do
  local inbox, list = KEYS[index], KEYS[index + 1]
  local queue = string.sub(list, head)
  while taken < most do
    local id = redis.call('LPOP', inbox) or redis.call('LPOP', list)
    if not id then break end
    local fields, home = take(queue, id)
    if fields then
      taken = taken + 1
      local token = nonce .. string.format('%04x', taken)
      begin_execution(prefix, worker, home, id, token, moment, lease)
      redis.call('HSET', job_key(prefix, id), 'status', 'started', 'started_at', stamp, 'last_heartbeat', stamp, 'worker_name', worker)
      redis.call('PERSIST', job_key(prefix, id))
      append(runs, token, home, id)
      append(reply, token, home, id, fields)
    end
  end
end
if taken > 0 then
  redis.call('HSET', wkey, 'state', 'busy', 'aiorq_claim', nonce .. cjson.encode(runs))
  redis.call('EXPIRE', wkey, 480)
  redis.call('EXPIRE', worker_executions_key(prefix, worker), 480)
end
return reply
