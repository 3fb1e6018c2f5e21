#!lua
-- Everything that is in Redis, with expiry by the clock of the tests: a TTL that a script set since the last look is
-- moved to a date that the server never reaches, and what is over by the tests' clock is deleted here.
--
-- ARGV[1] the date (ms since 1970) that stands for second 0 of the tests, ARGV[2] second 0 by the tests' clock
-- Returns for each key: name, second of its expiry or nil, type, content
local base, zero = tonumber(ARGV[1]), tonumber(ARGV[2])
local clock = 'model:aiorq:clock'
local date = base + (tonumber(redis.call('GET', clock)) - zero) * 1000
local reads = {hash = {'HGETALL'}, list = {'LRANGE', 0, -1}, set = {'SMEMBERS'}, string = {'GET'},
  zset = {'ZRANGE', 0, -1, 'WITHSCORES'}, stream = {'XRANGE', '-', '+'}}
local reply = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  local expires = redis.call('PEXPIRETIME', key)
  if expires >= 0 and expires < base / 2 + 900000000000 then
    expires = date + math.ceil(redis.call('PTTL', key) / 1000) * 1000
    if expires > date then redis.call('PEXPIREAT', key, string.format('%.0f', expires)) end
  end
  if expires >= 0 and expires <= date then
    redis.call('DEL', key)
  elseif key ~= clock then
    local kind = redis.call('TYPE', key).ok
    local read = reads[kind]
    local length = #reply
    reply[length + 1] = key
    reply[length + 2] = expires >= 0 and (expires - base) / 1000
    reply[length + 3] = kind
    reply[length + 4] = redis.call(read[1], key, unpack(read, 2))
  end
end
return reply
