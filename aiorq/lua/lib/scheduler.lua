-- RQ's schedulers, each of which looks after the queues whose locks it holds. A worker of ours shows as one, with a field
-- of its own.

-- Whether a scheduler of RQ's looks after the schedule of a queue.
local function is_left_to_rq(prefix, queue)
  local holder = redis.pcall('GET', scheduler_lock_key(prefix, queue))
  return type(holder) == 'string' and redis.pcall('HEXISTS', scheduler_key(prefix, holder), 'aiorq_boot') ~= 1
end
