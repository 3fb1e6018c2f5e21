#!lua flags=allow-oom
-- Cancel a job: it leaves its place, and a run of it loses its own; the worker is told to kill that.
-- any state but canceled -> canceled
--
-- KEYS[1] job
-- ARGV[1] prefix, ARGV[2] id, ARGV[3] seconds to keep a job that does not say how long failures are kept,
-- ARGV[4] nonce of this call
-- Returns 'ok' (also when this very call was sent before), 'canceled' when it was before, 'missing' when there is no such
-- job, or 'unfit' when its key holds no hash; in the last three cases nothing was changed.
-- @include keys
-- @include clock
-- @include dates
-- @include stops
-- @include job
local key, prefix, id, kept, nonce = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local fields = redis.pcall('HMGET', key, 'status', 'origin', 'worker_name', 'failure_ttl', 'aiorq_cancel')
if fields.err then return 'unfit' end
local status, queue, worker, ttl, seen = unpack(fields)
if status == 'canceled' then return seen == nonce and 'ok' or 'canceled' end
if redis.call('EXISTS', key) == 0 then return 'missing' end
queue = queue or ''
local moment = now()
-- First what may be refused: the registry may be a key of another type. A job that was only saved has no queue.
if queue ~= '' then redis.call('ZADD', registry_key(prefix, 'canceled', queue), math.floor(moment), id) end
leave_place(prefix, id, status, queue, worker or nil, 'canceled')
redis.call('HSET', key, 'status', 'canceled', 'aiorq_cancel', nonce)
redis.call('HDEL', key, 'aiorq_held')
ttl = kept_for(ttl, kept)
if ttl == 0 then ttl = kept end
keep_job(prefix, id, ttl)
return 'ok'
