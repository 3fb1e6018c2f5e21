#!lua flags=allow-oom
-- Ask the worker of a job that runs to stop it, and keep the request until that run has ended.
-- no change of state
--
-- KEYS[1] job
-- ARGV[1] prefix, ARGV[2] id, ARGV[3] execution id, or '' for the newest one of the job,
-- ARGV[4] seconds that the run has to end by itself, or '' for as many as its worker thinks fit, ARGV[5] nonce of this call
-- Returns 'missing' when there is no such job, 'unfit' when its key holds no hash, or the status of a job that is not
-- running (so); otherwise 'asked', the worker, the execution id, and 1 when that worker answers: it is not one of RQ's.
-- Sent again with the same nonce, the call answers the same, also when the run has ended since.
-- @include keys
-- @include stops
-- @include execution
local key, prefix, id, token, grace, nonce = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local fields = redis.pcall('HMGET', key, 'status', 'origin', 'worker_name', 'aiorq_stop')
if fields.err then return {'unfit'} end
local status, queue, worker, said = unpack(fields)
if not status then return {'missing'} end
if said and string.sub(said, 1, #nonce) == nonce then return cjson.decode(string.sub(said, #nonce + 1)) end
local tokens = redis.pcall('ZREVRANGE', executions_key(prefix, id), 0, 0)
local newest = not tokens.err and tokens[1]
if token == '' then token = newest or '' end
local named = redis.pcall('HGET', execution_key(prefix, id, token), 'worker_name')
worker = type(named) == 'string' and named or worker
local runs = token ~= '' and redis.pcall('ZSCORE', registry_key(prefix, 'wip', queue or ''), id .. ':' .. token)
if status ~= 'started' or type(runs) ~= 'string' or not worker or worker == '' then return {status} end
local ours = redis.pcall('HEXISTS', worker_key(prefix, worker), 'aiorq_boot') == 1
local message = {command = 'stop-execution', job_id = id, execution_id = token}
if ours then
  overwrite('HSET', stops_key(prefix, worker), token, grace)
  redis.call('EXPIRE', stops_key(prefix, worker), 86400)
  if grace ~= '' then message.aiorq_grace = tonumber(grace) end
end
tell_worker(prefix, worker, cjson.encode(message))
local reply = {'asked', worker, token, ours and 1 or 0}
redis.call('HSET', key, 'aiorq_stop', nonce .. cjson.encode(reply))
return reply
