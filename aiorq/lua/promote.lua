#!lua flags=allow-oom
-- Put a job on its queue, or behind its rate limit, that is due, or whose dependencies RQ found to be met.
-- scheduled | ready_to_enqueue -> queued | rate_limited
--
-- KEYS[1] registry that lists it, KEYS[2] queue, KEYS[3] set of queues
-- ARGV[1] prefix, ARGV[2] id, ARGV[3] the status that it should have
-- Returns 'queued' or 'rate_limited'; 'early' when it is not due yet, or 'held' when the queue's key holds no list, and nothing was changed;
-- or 'dropped': the job is gone, or elsewhere, and only the entry was removed.
-- @include keys
-- @include clock
-- @include dates
-- @include stops
-- @include place
-- @include job
-- @include promote
local registry, list, queues = KEYS[1], KEYS[2], KEYS[3]
local prefix, id, expected = ARGV[1], ARGV[2], ARGV[3]
local moment = now()
local score = tonumber(redis.pcall('ZSCORE', registry, id) or nil)
if not score then return 'dropped' end
if expected == 'scheduled' and score > moment then return 'early' end
local queue = string.sub(list, #queue_key(prefix, '') + 1)
local place = promote_job(prefix, registry, queue, id, expected, moment)
if place == 'queued' or place == 'rate_limited' then redis.pcall('SADD', queues, list) end
return place
