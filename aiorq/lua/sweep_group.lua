#!lua flags=allow-oom
-- Take jobs that are gone out of a group, some at a time; a group without jobs is forgotten.
-- no change of state
--
-- KEYS[1] group, KEYS[2] set of groups
-- ARGV[1] prefix, ARGV[2] name of the group, ARGV[3] cursor, first '0', ARGV[4] how many jobs to look at, about
-- Returns the next cursor ('0' at the end) and how many ids were taken out.
-- @include keys
local group, groups, prefix, name, cursor, most = KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local left = 0
local page = redis.call('SSCAN', group, cursor, 'COUNT', most)
for _, id in ipairs(page[2]) do
  if redis.call('EXISTS', job_key(prefix, id)) == 0 then left = left + redis.call('SREM', group, id) end
end
if redis.call('EXISTS', group) == 0 then redis.call('SREM', groups, name) end
return {page[1], left}
