-- Putting a job on its queue whose time has come, or whose dependencies are met.

-- Put a job on its queue, or behind its rate limit, which a registry lists and whose status is to be `expected`. Returns
-- that place; 'held' when the place is a key of another type, and nothing was changed; or 'dropped': the job is gone, or
-- elsewhere, and only the entry was removed.
local function promote_job(prefix, registry, queue, id, expected, moment)
  local fields = redis.pcall('HMGET', job_key(prefix, id), 'status', 'enqueue_at_front', 'ttl', 'rate_limit_key',
    'rate_limit_concurrency', 'enqueue_at_front_on_retry', 'ended_at', 'origin')
  local status, front, ttl, limit, concurrency, again, ended_at, origin = unpack(fields.err and {} or fields)
  -- An entry in another queue's registry is of a former life, whose time was over.
  if status ~= expected or (origin or queue) ~= queue then
    redis.call('ZREM', registry, id)
    return 'dropped'
  end
  -- A job that has run before is tried again.
  local first = front == '1' or (again == '1' and ended_at and ended_at ~= '')
  local fit, place = pcall(place_job, prefix, queue, id, moment, first, nil, limit or nil, concurrency or nil)
  if not fit then return 'held' end
  redis.call('ZREM', registry, id)
  keep_waiting(prefix, id, ttl)
  return place
end
