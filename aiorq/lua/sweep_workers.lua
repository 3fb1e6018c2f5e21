#!lua flags=allow-oom
-- Take dead workers, whose hash is gone, out of a set of workers.
-- no change of state
--
-- KEYS[1] set of workers, of all or of a queue
-- ARGV[1] prefix
-- Returns how many were taken out.
local workers = KEYS[1]
local left = 0
for _, key in ipairs(redis.call('SMEMBERS', workers)) do
  if redis.call('EXISTS', key) == 0 then left = left + redis.call('SREM', workers, key) end
end
return left
