#!lua flags=allow-oom
-- Look at some of the jobs that wait for one that has ended, where they were too many to look at when it ended; those that
-- wait for nothing any more are enqueued.
-- deferred -> queued | scheduled | rate_limited
--
-- KEYS[1] hash of ended jobs with dependents that are left
-- ARGV[1] prefix, ARGV[2] part: id of the ended job, a colon, and what tells this end of it from others,
-- ARGV[3] how many to look at, at most
-- Returns 1 when some are left, otherwise 0, then queue and id of each job that was enqueued.
-- @include keys
-- @include clock
-- @include dates
-- @include stops
-- @include place
-- @include job
-- @include dependents
local ended, prefix, part, most = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3])
local how = redis.call('HGET', ended, part)
if not how then return {0} end
local parent = string.match(part, '^[^:]*')
local set, key, dependents = parting_key(prefix, part), job_key(prefix, parent), dependents_key(prefix, parent)
local moment = now()
-- It may have got on since: it was enqueued again and has finished.
if redis.pcall('HGET', key, 'status') == 'finished' then how = 'finished' end
local reply = {1}
local children = redis.pcall('SPOP', set, most)
if children.err then redis.call('DEL', set) end -- garbage, which must not hold up what else is overdue
for _, child in ipairs(children) do
  local became, queue = enqueue_dependent(prefix, child, parent, how, moment)
  if became == 'enqueued' then
    reply[#reply + 1] = queue
    reply[#reply + 1] = child
  elseif stays_named(became, how) then
    redis.pcall('SADD', dependents, child)
  end
end
local ttl = redis.call('PTTL', key)
if ttl == -2 then ttl = 31536000000 end -- they wait for another job of that id
if ttl > 0 then redis.call('PEXPIRE', dependents, ttl) end
if redis.call('EXISTS', set) == 0 then
  redis.call('HDEL', ended, part)
  reply[1] = 0
end
return reply
