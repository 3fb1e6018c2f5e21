#!lua flags=allow-oom
-- Cancel a job: it leaves its place, and a run of it loses its own; the worker is told to kill that. The jobs that wait
-- for it go on waiting, unless they are to be enqueued as if it had finished.
-- any state but canceled -> canceled
--
-- KEYS[1] job
-- ARGV[1] prefix, ARGV[2] id, ARGV[3] seconds to keep a job that does not say how long failures are kept,
-- ARGV[4] nonce of this call, ARGV[5] '1' to enqueue what waits for it, ARGV[6] '1' to forget it where it is named among
-- those that wait for others
-- Returns 'ok' (also when this very call was sent before) and queue and id of each job that was enqueued; or 'canceled' when
-- it was before, 'missing' when there is no such job, 'unfit' when its key holds no hash: nothing was changed then.
-- @include keys
-- @include clock
-- @include dates
-- @include stops
-- @include place
-- @include job
-- @include dependents
local key, prefix, id, kept, nonce = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local enqueue, forget = ARGV[5], ARGV[6]
local fields = redis.pcall('HMGET', key, 'status', 'origin', 'worker_name', 'failure_ttl', 'aiorq_cancel')
if fields.err then return {'unfit'} end
local status, queue, worker, ttl, seen = unpack(fields)
if status == 'canceled' then return {seen == nonce and 'ok' or 'canceled'} end
if redis.call('EXISTS', key) == 0 then return {'missing'} end
queue = queue or ''
local moment = now()
-- First what may be refused: the registry may be a key of another type. A job that was only saved has no queue.
if queue ~= '' then redis.call('ZADD', registry_key(prefix, 'canceled', queue), math.floor(moment), id) end
leave_place(prefix, id, status, queue, worker or nil, 'canceled')
redis.call('HSET', key, 'status', 'canceled', 'aiorq_cancel', nonce)
redis.call('HDEL', key, 'aiorq_held', 'aiorq_unlisted')
-- What had ended has its time already.
local ended = status == 'finished' or status == 'failed' or status == 'stopped'
if not ended or redis.call('TTL', key) < 0 then
  ttl = kept_for(ttl, kept)
  keep_job(prefix, id, ttl == 0 and kept or ttl)
end
if forget == '1' then
  local parents = redis.pcall('SMEMBERS', dependencies_key(prefix, id))
  for _, parent in ipairs(parents.err and {} or parents) do redis.pcall('SREM', dependents_key(prefix, parent), id) end
end
return {'ok', unpack((end_parent(prefix, id, enqueue == '1' and 'passed' or 'stopped', moment)))}
