#!lua flags=allow-oom
-- Give a slot of a rate limit that nobody needs to the job that waits for it.
-- rate_limited -> queued
--
-- KEYS[1] jobs that hold a slot
-- ARGV[1] prefix, ARGV[2] key of the rate limit, ARGV[3] id of a job that holds a slot and is elsewhere; '' for a slot that is
-- free
-- Returns 'repaired', or 'changed': the job has a right to its slot, or has left it; or nobody waits for a free one. Nothing
-- was changed.
-- @include keys
-- @include clock
-- @include dates
-- @include place
-- @include slots
local allowed, prefix, limit, id = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local moment = now()
if id ~= '' then
  if belongs_to(prefix, 'allowed', id, moment) or redis.pcall('ZREM', allowed, id) ~= 1 then return 'changed' end
  fill_slots(prefix, limit, moment)
  return 'repaired'
end
return fill_slots(prefix, limit, moment) > 0 and 'repaired' or 'changed'
