-- Who has a place on one side of a rate limit.

-- Whether a job belongs among those that hold a slot (`allowed`), or those that wait for one (`rate_limited`). A slot belongs
-- to a job that is queued or runs; one that RQ canceled or deleted while it runs keeps it until that run has ended.
local function belongs_to(prefix, side, id, moment)
  local status = redis.pcall('HGET', job_key(prefix, id), 'status')
  if side == 'rate_limited' then return status == 'rate_limited' end
  if status == 'queued' or status == 'started' then return true end
  local running = redis.pcall('ZCOUNT', executions_key(prefix, id), epoch(moment), '+inf')
  return type(running) == 'number' and running > 0
end

-- Let those in for whom there is a slot, also where RQ did not come to it; returns how many these are. Without its number,
-- a limit takes that of the job whose turn it is.
local function fill_slots(prefix, limit, moment)
  local limited = limited_key(prefix, limit)
  local first = redis.pcall('ZRANGE', limited, 0, 0)[1]
  if not first then return 0 end
  local concurrency = redis.pcall('HGET', limit_key(prefix, limit), 'concurrency')
  if type(concurrency) ~= 'string' then concurrency = redis.pcall('HGET', job_key(prefix, first), 'rate_limit_concurrency') end
  concurrency = type(concurrency) == 'string' and tonumber(concurrency)
  if not concurrency then return 0 end
  local waiting = redis.call('ZCARD', limited)
  admit(prefix, limit, concurrency, moment)
  return waiting - redis.call('ZCARD', limited)
end
