#!lua flags=allow-oom
-- Bring the books in line with the status of a job, or with each other, where they are still as they were found.
-- no change of state
--
-- KEYS[1] the key that the repair is about (for its slot)
-- ARGV[1] prefix, ARGV[2] number of checks, then for each: what its answer must be, number of parts, the parts of a
-- command that reads; then commands that write, each as number of parts and parts
-- Returns 'repaired', or 'changed': a check was answered otherwise, nothing was changed.
--
-- An answer must be '-' (nothing, zero, empty), '+' (something), '#n' (n entries), or '=text' (this text or number).
-- A key that a command writes to must have the type that the command is for, or not be there.
local prefix, checks = ARGV[1], tonumber(ARGV[2])
local types = {
  LREM = 'list', RPUSH = 'list', ZADD = 'zset', ZREM = 'zset', SADD = 'set', SREM = 'set', HSET = 'hash', HDEL = 'hash',
}
local place = 3

local function satisfies(wanted, answer)
  if type(answer) == 'table' and answer.err then return false end
  local some = answer and answer ~= 0 and answer ~= '' and not (type(answer) == 'table' and #answer == 0)
  local sort, rest = string.sub(wanted, 1, 1), string.sub(wanted, 2)
  if sort == '-' then return not some end
  if sort == '+' then return some end
  if sort == '#' then return type(answer) == 'table' and #answer == tonumber(rest) end
  if type(answer) == 'table' then answer = answer.ok end
  if not answer then return false end
  return tostring(answer) == rest or (tonumber(rest) ~= nil and tonumber(answer) == tonumber(rest))
end

for _ = 1, checks do
  local wanted, parts = ARGV[place], tonumber(ARGV[place + 1])
  if not satisfies(wanted, redis.pcall(unpack(ARGV, place + 2, place + 1 + parts))) then return 'changed' end
  place = place + 2 + parts
end

local first = place
while place <= #ARGV do
  local parts, command, key = tonumber(ARGV[place]), ARGV[place + 1], ARGV[place + 2]
  local kind = redis.call('TYPE', key).ok
  if types[command] and kind ~= 'none' and kind ~= types[command] then return 'changed' end
  place = place + 1 + parts
end
place = first
while place <= #ARGV do
  local parts = tonumber(ARGV[place])
  redis.call(unpack(ARGV, place + 1, place + parts))
  place = place + 1 + parts
end
return 'repaired'
