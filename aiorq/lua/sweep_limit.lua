#!lua flags=allow-oom
-- Take jobs out of a rate limit that have no place there any more, some at a time, and let those in that wait for the slots.
-- rate_limited -> queued
--
-- KEYS[1] the jobs that hold a slot, or those that wait for one; KEYS[2] set of rate limits
-- ARGV[1] prefix, ARGV[2] key of the rate limit, ARGV[3] 'allowed' or 'rate_limited', whichever KEYS[1] is,
-- ARGV[4] cursor, first '0', ARGV[5] how many jobs to look at, about
-- Returns the next cursor ('0' at the end) and how many ids were taken out.
--
-- A slot belongs to a job that is queued or runs. A rate limit that holds no job is forgotten.
-- @include keys
-- @include clock
-- @include dates
-- @include place
local entries, limits, prefix, limit, kind = KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3]
local cursor, most = ARGV[4], tonumber(ARGV[5])
local moment = now()

-- A job that RQ canceled or deleted while it runs keeps its slot until that run has ended.
local function belongs(id)
  local status = redis.pcall('HGET', job_key(prefix, id), 'status')
  if kind == 'rate_limited' then return status == 'rate_limited' end
  if status == 'queued' or status == 'started' then return true end
  local running = redis.pcall('ZCOUNT', executions_key(prefix, id), epoch(moment), '+inf')
  return type(running) == 'number' and running > 0
end

local left = 0
local page = redis.call('ZSCAN', entries, cursor, 'COUNT', most)
for index = 1, #page[2], 2 do
  local id = page[2][index]
  if not belongs(id) then left = left + redis.call('ZREM', entries, id) end
end
if page[1] == '0' then
  local config, first = limit_key(prefix, limit), redis.pcall('ZRANGE', limited_key(prefix, limit), 0, 0)[1]
  local concurrency = redis.pcall('HGET', config, 'concurrency')
  -- Without its number, a limit takes that of the job whose turn it is.
  if first and type(concurrency) ~= 'string' then
    concurrency = redis.pcall('HGET', job_key(prefix, first), 'rate_limit_concurrency')
  end
  concurrency = type(concurrency) == 'string' and tonumber(concurrency)
  if concurrency then admit(prefix, limit, concurrency, moment) end
  if redis.call('EXISTS', allowed_key(prefix, limit), limited_key(prefix, limit)) == 0 then
    redis.call('SREM', limits, limit)
    redis.call('DEL', config)
  end
end
return {page[1], left}
