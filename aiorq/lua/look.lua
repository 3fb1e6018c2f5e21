#!lua flags=allow-oom
-- Read keys with what they hold and how long they live, all at the same instant.
-- no change of state
--
-- KEYS the keys to read; without any, all that match the pattern
-- ARGV[1] prefix, ARGV[2] glob pattern, ARGV[3] how many of the keys, from the first, are read whole: of the others only
-- the entries that are named, ARGV[4] the most entries that a key is read with (-1 for any number),
-- ARGV[5] number of hash fields, then the fields to read of hashes, then entries of lists and sorted sets
-- Returns the time of the server (seconds), then for each key that exists: name, type, milliseconds to live (-1 for
-- ever), content.
--
-- Content: of a hash the fields asked for (all, of the one that tells whose dependents are set apart), of a list or a set
-- the entries, of a sorted set entries and scores in turn, of
-- a string its first 100 bytes, of other types nothing. In place of too many entries stands their number.
-- @include keys
-- @include clock
-- @include dates
local prefix, pattern, whole, most = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local fields = tonumber(ARGV[5])
local reply = {epoch(now())}

local function read_hash(key)
  if key == ended_parents_key(prefix) then return redis.call('HGETALL', key) end
  return redis.call('HMGET', key, unpack(ARGV, 6, 5 + fields))
end

local function read_list(key, part)
  if not part then
    local size = redis.call('LLEN', key)
    if most >= 0 and size > most then return size end
    return redis.call('LRANGE', key, 0, -1)
  end
  local found = {}
  for index = 6 + fields, #ARGV do
    for _ = 1, #redis.call('LPOS', key, ARGV[index], 'COUNT', 0) do found[#found + 1] = ARGV[index] end
  end
  return found
end

local function read_sorted_set(key, part)
  if not part then
    local size = redis.call('ZCARD', key)
    if most >= 0 and size > most then return size end
    return redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
  end
  local found = {}
  for index = 6 + fields, #ARGV do
    local score = redis.call('ZSCORE', key, ARGV[index])
    if score then
      found[#found + 1] = ARGV[index]
      found[#found + 1] = score
    end
  end
  return found
end

local function read_set(key)
  local size = redis.call('SCARD', key)
  if most >= 0 and size > most then return size end
  return redis.call('SMEMBERS', key)
end

local function read_string(key) return redis.call('GETRANGE', key, 0, 99) end

local readers = {hash = read_hash, list = read_list, zset = read_sorted_set, set = read_set, string = read_string}

local function read(key, part)
  local kind = redis.call('TYPE', key).ok
  if kind == 'none' then return end
  local reader = readers[kind]
  local length = #reply
  reply[length + 1], reply[length + 2], reply[length + 3] = key, kind, redis.call('PTTL', key)
  reply[length + 4] = reader and reader(key, part) or ''
end

for index, key in ipairs(KEYS) do read(key, index > whole) end
if #KEYS == 0 then
  local cursor = '0'
  repeat
    local step = redis.call('SCAN', cursor, 'MATCH', pattern, 'COUNT', 1000)
    cursor = step[1]
    for _, key in ipairs(step[2]) do read(key, false) end
  until cursor == '0'
end
return reply
