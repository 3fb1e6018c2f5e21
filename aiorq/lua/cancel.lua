#!lua flags=allow-oom
-- Cancel a job: it leaves its place, and a run of it loses its own; the worker is told to kill that.
-- any state but canceled -> canceled
--
-- KEYS[1] job
-- ARGV[1] prefix, ARGV[2] id, ARGV[3] seconds to keep a job that does not say how long failures are kept
-- Returns 'ok', 'canceled' when it was before, 'missing' when there is no such job, or 'unfit' when its key holds no hash;
-- in the last three cases nothing was changed.
-- @include keys
-- @include clock
-- @include dates
-- @include stops
-- @include job
local key, prefix, id, kept = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3])
local fields = redis.pcall('HMGET', key, 'status', 'origin', 'worker_name', 'failure_ttl')
if fields.err then return 'unfit' end
local status, queue, worker, ttl = unpack(fields)
if status == 'canceled' then return 'canceled' end
if not status then return 'missing' end
queue = queue or ''
local moment = now()
-- First what may be refused: the registry may be a key of another type.
redis.call('ZADD', registry_key(prefix, 'canceled', queue), math.floor(moment), id)
leave_place(prefix, id, status, queue, worker or nil, 'canceled')
redis.call('HSET', key, 'status', 'canceled')
redis.call('HDEL', key, 'aiorq_held')
ttl = tonumber(ttl or nil)
if not ttl or ttl == 0 then ttl = kept end
if ttl > 0 then expire_job(prefix, id, ttl) end
return 'ok'
