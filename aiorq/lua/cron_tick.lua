#!lua
-- Deal with a slot of an entry of cron: enqueue its job, or pass it over; the entry has its next slot then.
-- nothing -> queued | scheduled | rate_limited
--
-- KEYS[1] set of queues, KEYS[2] sorted set of next slots
-- ARGV[1] prefix, ARGV[2] name, ARGV[3] the version of its definition, ARGV[4] token: a text that no other call has
-- ARGV[5] the slot in seconds, ARGV[6] the one that follows, '' for none
-- ARGV[7] how many slots from that one on are passed over, 0 to enqueue a job for it
-- ARGV[8] what the last jobs of the entry forbid: 'allow' for nothing, 'skip', 'queue'
-- then of the job: id, queue, nonce, front ('1' for the front of the queue), ttl (seconds, '' for ever),
--                  when it may run ('' for now), and texts as enqueue.lua has them behind the fields
-- Returns one word:
--   queued, scheduled, rate_limited     the state of the job that was enqueued
--   overlapped                          no job was enqueued: one of the last ones is not over
--   exists, running                     no job was enqueued: one of its id is there
--   unfit, unlisted                     no job was enqueued, since a key that it needs is of another type
--   missed                              the slots were passed over
--   (also when the same call was sent before)
--   taken                               it is not the next slot of the entry (any more); nothing was changed
--   changed                             there is another definition; nothing was changed
--   early                               it is not due yet; nothing was changed
-- @include keys
-- @include clock
-- @include dates
-- @include stops
-- @include place
-- @include job
-- @include execution
-- @include dependents
-- @include plain_enqueue
-- @include enqueue
-- @include cron
local queues, upcoming = KEYS[1], KEYS[2]
local prefix, name, version, token, slot, following, passed, policy = unpack(ARGV, 1, 8)
local state = cron_state_key(prefix, name)
local score = redis.call('ZSCORE', upcoming, name)
local fields = redis.pcall('HMGET', state, 'version', 'token', 'word')
local current, last, said = unpack(fields.err and {} or fields)
if last == token then return said end
if not score or tonumber(score) ~= tonumber(slot) then return 'taken' end
if current ~= version then return 'changed' end
local moment = now()
if tonumber(slot) > moment then return 'early' end

local word = 'missed'
if passed == '0' then
  word = 'overlapped'
  if not is_overlapped(prefix, name, policy) then
    word = enqueue_of_entry(new_batch(prefix, queues, moment), name, epoch(tonumber(slot)), {unpack(ARGV, 9)})
  end
end
local counted = {missed = 'missed', overlapped = 'overlapped', exists = 'overlapped', running = 'overlapped',
  unfit = 'refused', unlisted = 'refused'}
if counted[word] then redis.pcall('HINCRBY', state, counted[word], math.max(1, tonumber(passed))) end
redis.call('HSET', state, 'slot', epoch(tonumber(slot)), 'token', token, 'word', word)
if following == '' then redis.call('ZREM', upcoming, name) else redis.call('ZADD', upcoming, following, name) end
return word
