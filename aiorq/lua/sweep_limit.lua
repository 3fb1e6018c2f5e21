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
-- @include slots
local entries, limits, prefix, limit, kind = KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3]
local cursor, most = ARGV[4], tonumber(ARGV[5])
local moment = now()

local left = 0
local page = redis.call('ZSCAN', entries, cursor, 'COUNT', most)
for index = 1, #page[2], 2 do
  local id = page[2][index]
  if not belongs_to(prefix, kind, id, moment) then left = left + redis.call('ZREM', entries, id) end
end
if page[1] == '0' then
  fill_slots(prefix, limit, moment)
  if redis.call('EXISTS', allowed_key(prefix, limit), limited_key(prefix, limit)) == 0 then
    redis.call('SREM', limits, limit)
    redis.call('DEL', limit_key(prefix, limit))
  end
end
return {page[1], left}
