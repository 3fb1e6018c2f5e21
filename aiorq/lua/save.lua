#!lua
-- Write fields of a job, those that its process may change; a job that does not exist (any more) is not brought back.
-- no change of state
--
-- KEYS[1] job
-- ARGV[1] prefix, ARGV[2] '1' to create the job where it does not exist, then field, value, field, value ...; an empty value of `meta` removes it
-- Returns 1, or 0 when the job does not exist and may not be created.
local key = KEYS[1]
if ARGV[2] ~= '1' and redis.call('EXISTS', key) == 0 then return 0 end
for index = 3, #ARGV, 2 do
  if ARGV[index] == 'meta' and ARGV[index + 1] == '' then redis.call('HDEL', key, 'meta')
  else redis.call('HSET', key, ARGV[index], ARGV[index + 1]) end
end
return 1
