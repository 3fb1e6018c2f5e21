#!lua flags=allow-oom
-- Take out of a registry what has no place there any more, some entries at a time. Jobs that are deferred and wait for
-- nothing any more are enqueued: nobody saw the end of what they waited for, which has expired or was RQ's.
-- deferred -> queued | scheduled | rate_limited
--
-- KEYS[1] registry
-- ARGV[1] prefix, ARGV[2] what has no place there: 'expired' (a score from 0 to now), 'gone' (there is no such job),
-- 'deferred' (as 'gone', or it is not deferred; the others are enqueued where they wait for nothing), or 'canceled' (as
-- 'gone', and what was canceled a year ago; such a job that nothing else ends, as one of RQ's, is kept for a year),
-- ARGV[3] cursor, first '0', ARGV[4] how many entries to look at, about, ARGV[5] what counts as now (seconds; '' for the time
-- of the server)
-- Returns the next cursor ('0' at the end) and how many entries have left.
-- @include keys
-- @include clock
-- @include dates
-- @include place
-- @include job
-- @include dependents
local registry, prefix, stale, cursor, most = KEYS[1], ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local moment = tonumber(ARGV[5]) or now()
local year = 31536000

if stale == 'expired' then
  local ids = redis.call('ZRANGE', registry, 0, epoch(moment), 'BYSCORE', 'LIMIT', 0, most)
  if #ids > 0 then redis.call('ZREM', registry, unpack(ids)) end
  return {#ids == most and '1' or '0', #ids}
end

-- Whether a canceled job, `age` seconds after that, is not listed any longer.
local function is_past(id, age)
  local key = job_key(prefix, id)
  local fields = redis.pcall('HMGET', key, 'status', 'failure_ttl')
  local status, ttl = unpack(fields.err and {} or fields)
  if status ~= 'canceled' or redis.call('TTL', key) >= 0 then return age > year end
  if kept_for(ttl, year) >= 0 then keep_job(prefix, id, math.max(1, math.ceil(year - age))) end
  return false
end

local left = 0
local page = redis.call('ZSCAN', registry, cursor, 'COUNT', most)
for index = 1, #page[2], 2 do
  local id, score = page[2][index], tonumber(page[2][index + 1])
  if redis.call('EXISTS', job_key(prefix, id)) == 0 or (stale == 'canceled' and is_past(id, moment - score)) then
    left = left + redis.call('ZREM', registry, id)
  elseif stale == 'deferred' then
    local became = enqueue_dependent(prefix, id, '', 'gone', moment)
    if became == 'enqueued' then left = left + 1
    elseif became ~= 'waits' and type(redis.pcall('HGET', job_key(prefix, id), 'status')) == 'string' then
      left = left + redis.call('ZREM', registry, id) -- of a former life, whose time was over
    end
  end
end
return {page[1], left}
