#!lua flags=allow-oom
-- Take ids out of a queue whose job is gone: expired, or deleted by somebody who left the entry.
-- no change of state
--
-- KEYS[1] queue
-- ARGV[1] prefix, then ids
-- Returns how many entries were removed.
-- @include keys
local list, prefix = KEYS[1], ARGV[1]
local dropped = 0
for index = 2, #ARGV do
  if redis.call('EXISTS', job_key(prefix, ARGV[index])) == 0 then dropped = dropped + redis.call('LREM', list, 0, ARGV[index]) end
end
return dropped
