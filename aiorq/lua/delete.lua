#!lua flags=allow-oom
-- Delete jobs in whatever state they are: hash, results, dependency sets, and the place that their status names.
-- any state -> nothing
--
-- A run loses its place: its worker notices at the next renewal, and its outcome is refused.
--
-- KEYS[1] set of queues (for its slot; not changed)
-- ARGV[1] prefix, then ids
-- Returns the number of jobs that existed.
-- @include keys
-- @include job
local prefix = ARGV[1]
local deleted = 0
for index = 2, #ARGV do
  local id = ARGV[index]
  local key = job_key(prefix, id)
  local known = redis.pcall('HMGET', key, 'status', 'origin', 'worker_name')
  if not known.err then
    local status, queue, worker = unpack(known)
    if status and queue then leave_place(prefix, id, status, queue) end
    for _, token in ipairs(redis.call('ZRANGE', executions_key(prefix, id), 0, -1)) do
      redis.call('DEL', execution_key(prefix, id, token))
      if queue then redis.call('ZREM', registry_key(prefix, 'wip', queue), id .. ':' .. token) end
      if worker then redis.call('SREM', worker_executions_key(prefix, worker), id .. ':' .. token) end
    end
  end
  redis.call('DEL', executions_key(prefix, id))
  deleted = deleted + redis.call('EXISTS', key)
  delete_job(prefix, id)
end
return deleted
