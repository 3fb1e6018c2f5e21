-- The life of a job's keys. A TTL covers the hash and the two sets of its dependencies, as in RQ.
local function expire_job(prefix, id, seconds)
  redis.call('EXPIRE', job_key(prefix, id), seconds)
  redis.call('EXPIRE', dependents_key(prefix, id), seconds)
  redis.call('EXPIRE', dependencies_key(prefix, id), seconds)
end

local function delete_job(prefix, id)
  redis.call('DEL', job_key(prefix, id), dependents_key(prefix, id), dependencies_key(prefix, id), results_key(prefix, id))
end

-- Take a job out of the one place that its status names.
local function leave_place(prefix, id, status, queue)
  if status == 'queued' then redis.call('LREM', queue_key(prefix, queue), 1, id)
  elseif status == 'finished' or status == 'canceled' or status == 'deferred' or status == 'scheduled' then
    redis.call('ZREM', registry_key(prefix, status, queue), id)
  elseif status == 'failed' or status == 'stopped' then redis.call('ZREM', registry_key(prefix, 'failed', queue), id)
  end
end
