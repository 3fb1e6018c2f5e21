#!lua
-- Write fields of a job or a worker that are no state; what does not exist (any more) is not brought back.
-- nothing -> created
--
-- KEYS[1] job, or worker
-- ARGV[1] prefix, ARGV[2] '' where nothing is to be created; otherwise n, and the first n texts that follow are only
-- written where the key does not exist; then field, value, field, value ...; an empty value of `meta` removes it
-- Returns 1, or 0 when the key does not exist and may not be created.
local key, created = KEYS[1], tonumber(ARGV[2])
local exists = redis.call('EXISTS', key) == 1
if not exists and not created then return 0 end
local first = 3
if exists and created then first = 3 + created end
for index = first, #ARGV, 2 do
  local field, value = ARGV[index], ARGV[index + 1]
  if field == 'meta' and value == '' then redis.call('HDEL', key, field) else redis.call('HSET', key, field, value) end
end
return 1
