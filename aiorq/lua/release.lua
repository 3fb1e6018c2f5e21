#!lua flags=allow-oom
-- Hand back runs that did not begin, or were killed at a worker's end: each job returns to the head of its queue as if it
-- had not been claimed.
-- started -> queued
--
-- KEYS pairs of a worker's inbox and a queue's list; what is in an inbox goes back to the head of its queue too
-- ARGV[1] prefix, ARGV[2] worker, then for each run, the last claimed first: queue, id, execution id
-- Returns the number of jobs that were handed back from runs; runs that no longer hold their place are left alone.
-- @include keys
-- @include clock
-- @include dates
-- @include stops
-- @include place
-- @include job
-- @include execution
local prefix, worker = ARGV[1], ARGV[2]
local handed = 0
for index = 3, #ARGV, 3 do
  local queue, id, token = ARGV[index], ARGV[index + 1], ARGV[index + 2]
  -- Where the queue's key is no list the run keeps its place, until its lease ends.
  if holds(prefix, queue, id, token) and put_back(prefix, queue, id) then
    end_execution(prefix, worker, queue, id, token, 'queued')
    handed = handed + 1
  end
end
for index = 1, #KEYS, 2 do
  repeat
    local moved = redis.pcall('LMOVE', KEYS[index], KEYS[index + 1], 'RIGHT', 'LEFT')
  until type(moved) ~= 'string'
end
if redis.call('TYPE', worker_key(prefix, worker)).ok == 'hash'
  and redis.call('HGET', worker_key(prefix, worker), 'state') ~= 'suspended'
  and redis.pcall('SCARD', worker_executions_key(prefix, worker)) == 0 then
  redis.call('HSET', worker_key(prefix, worker), 'state', 'idle')
end
return handed
