#!lua flags=allow-oom
-- Read some fields of jobs, of long ones the beginning alone.
-- no change of state
--
-- KEYS jobs
-- ARGV[1] prefix, ARGV[2] the most bytes of a field, then the names of the fields
-- Returns for each key: the fields, nil for those that are unset; nothing where there is no such key; the word for its type
-- where it holds something else.
local most = tonumber(ARGV[2])
local reply = {}
for index, key in ipairs(KEYS) do
  local kind = redis.call('TYPE', key).ok
  if kind == 'hash' then
    local fields = redis.call('HMGET', key, unpack(ARGV, 3))
    for place, value in ipairs(fields) do
      if value and #value > most then fields[place] = string.sub(value, 1, most) end
    end
    reply[index] = fields
  else
    reply[index] = kind == 'none' and {} or kind
  end
end
return reply
