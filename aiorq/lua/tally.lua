#!lua flags=allow-oom
-- Count the jobs of a group by their states, some at a time.
-- no change of state
--
-- KEYS[1] group
-- ARGV[1] prefix, ARGV[2] cursor, first '0', ARGV[3] how many jobs to look at, about
-- Returns the next cursor ('0' at the end), then status and number, in turn. Jobs that are gone do not count.
-- @include keys
local group, prefix, cursor, most = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3])
local page = redis.call('SSCAN', group, cursor, 'COUNT', most)
local counts = {}
for _, id in ipairs(page[2]) do
  local status = redis.pcall('HGET', job_key(prefix, id), 'status')
  if type(status) == 'string' then counts[status] = (counts[status] or 0) + 1 end
end
local reply = {page[1]}
for status, count in pairs(counts) do
  reply[#reply + 1] = status
  reply[#reply + 1] = count
end
return reply
