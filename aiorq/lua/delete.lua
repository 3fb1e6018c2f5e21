#!lua flags=allow-oom
-- Delete jobs in whatever state they are: hash, results, dependency sets, and the place that their status names.
-- any state -> nothing
--
-- A run loses its place: its worker notices at the next renewal, and its outcome is refused. The jobs that wait for one that
-- is deleted do not wait for it any more.
--
-- KEYS[1] set of queues (for its slot; not changed)
-- ARGV[1] prefix, then ids
-- Returns the number of jobs that existed.
-- @include keys
-- @include clock
-- @include dates
-- @include stops
-- @include place
-- @include job
-- @include dependents
local prefix = ARGV[1]
local deleted = 0
for index = 2, #ARGV do
  local id = ARGV[index]
  local known = redis.pcall('HMGET', job_key(prefix, id), 'status', 'origin', 'worker_name')
  if not known.err then
    local status, queue, worker = unpack(known)
    drop_runs(prefix, id, queue or '', worker, status == 'started', 'deleted')
    if status and queue then leave_place(prefix, id, status == 'started' and '' or status, queue, worker) end
  end
  deleted = deleted + redis.call('EXISTS', job_key(prefix, id))
  redis.call('DEL', executions_key(prefix, id))
  delete_job(prefix, id)
end
-- Afterwards, when those that wait for them may be gone too.
for index = 2, #ARGV do end_parent(prefix, ARGV[index], 'gone', now()) end
return deleted
