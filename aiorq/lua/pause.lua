#!lua flags=allow-oom
-- Pause a queue: no worker takes jobs from it until it is resumed.
-- no change of state
--
-- KEYS[1] hash of paused queues
-- ARGV[1] prefix, ARGV[2] name of the queue, ARGV[3] why, for people
-- Returns what is now on record: JSON with `reason` and `since` (RQ's text of a date). A queue that is paused already stays
-- so since then, with the new reason.
-- @include clock
-- @include dates
local paused, queue, reason = KEYS[1], ARGV[2], ARGV[3]
local known = redis.call('HGET', paused, queue)
local read, old = pcall(cjson.decode, known or '')
local since = read and type(old) == 'table' and type(old.since) == 'string'
  and string.match(old.since, '^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d+Z$') or iso(now())
local record = cjson.encode({reason = reason, since = since})
redis.call('HSET', paused, queue, record)
return record
