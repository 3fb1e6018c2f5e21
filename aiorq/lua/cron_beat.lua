#!lua flags=allow-oom
-- Show that a process looks after cron, in RQ's keys, for two minutes.
-- no change of state
--
-- KEYS[1] sorted set of such processes, KEYS[2] hash of this one
-- ARGV[1] prefix, ARGV[2] name, ARGV[3] token: a text that no other process has, ARGV[4] '1' at its begin
-- then the fields to show: field, value, field, value ...
-- Returns 'ok'; or 'taken' at its begin, when another one has that name, and nothing was changed.
-- @include clock
local schedulers, key = KEYS[1], KEYS[2]
local name, token, begins = ARGV[2], ARGV[3], ARGV[4]
local moment = now()
local heard = tonumber(redis.call('ZSCORE', schedulers, name) or nil)
if begins == '1' and heard and heard > moment - 120 and redis.call('HGET', key, 'aiorq_boot') ~= token then return 'taken' end
redis.call('ZREMRANGEBYSCORE', schedulers, '-inf', moment - 120)
redis.call('HSET', key, 'aiorq_boot', token, unpack(ARGV, 5))
redis.call('EXPIRE', key, 120)
redis.call('ZADD', schedulers, moment, name)
return 'ok'
