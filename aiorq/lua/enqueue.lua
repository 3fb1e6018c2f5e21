#!lua
-- Put jobs where they wait for their run: each job is written and has its place, or is not there at all.
-- nothing | any state but started -> queued | scheduled | rate_limited | deferred | started (by who enqueues it)
--
-- KEYS[1] set of queues
-- ARGV[1] prefix
-- then for each job: id, queue, nonce, front ('1' for the front of the queue), ttl (seconds, '' for ever),
--                    n, m, then n texts: field, value, field, value ..., then m texts, of which each is what a letter and a
--                    colon before it say:
--                      p: id of a job that must end first; a: their failure does not matter (no text)
--                      t: when it may run, seconds since 1970; d: the same, seconds from now
--                      l: key of its rate limit; c: concurrency of that; g: name of its group
--                      u: refuse it if there is a job of that id (no text)
--                      r: execution id of the run that begins at once, in the process that asks; s: its lease, seconds
-- Returns the time of the server as RQ's text, then a word for each job:
--   queued, deferred, scheduled, rate_limited, started    the state that it is in (also when the same call was sent before;
--             then of a job that has left these, queued)
--   running   a job of that id runs; nothing was changed
--   exists    a job of that id exists; nothing was changed
--   cycle     it would wait for a job that waits for it; nothing was changed
--   unfit     the key of that id holds no hash; nothing was changed
--   unlisted  the key of the queue, or of the registry that would list it, is of another type; nothing was changed
--
-- A nonce tells two calls for the same id from one call that was sent twice. An empty nonce says that the id is new, a
-- random one: a job of that id can then only be the work of the same call.
-- @include queue_keys
-- @include clock
-- @include dates
-- @include plain_enqueue

-- What other jobs need is made when the first of them comes: Lua makes each function anew at every call.
local function full_enqueue()
-- @include keys
-- @include stops
-- @include place
-- @include job
-- @include execution
-- @include dependents
-- @include enqueue
return enqueue_one
end

local queues, prefix = KEYS[1], ARGV[1]
local batch, enqueue_other = new_batch(prefix, queues, now()), nil
local reply, index = {batch.stamp}, 2
while index <= #ARGV do
  local word, following = enqueue_plain(batch, ARGV, index)
  if not word then
    enqueue_other = enqueue_other or full_enqueue()
    word, following = enqueue_other(batch, ARGV, index)
  end
  reply[#reply + 1], index = word, following
end
return reply
