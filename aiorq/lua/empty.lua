#!lua flags=allow-oom
-- Delete the jobs that wait in a queue, a bounded number at a time, front first.
-- queued -> nothing
--
-- KEYS[1] queue
-- ARGV[1] prefix, ARGV[2] how many at most
-- Returns the number of ids taken from the queue; 0 when it is empty. An id in the list whose job is elsewhere loses
-- its entry only.
-- @include keys
-- @include clock
-- @include dates
-- @include stops
-- @include place
-- @include job
-- @include dependents
local list, prefix, most = KEYS[1], ARGV[1], tonumber(ARGV[2])
local ids = redis.call('LPOP', list, most)
if not ids then return 0 end
-- First all that are to go: a job that another one here lets go may have an entry of a former life behind that.
local doomed = {}
for _, id in ipairs(ids) do
  local fields = redis.pcall('HMGET', job_key(prefix, id), 'status', 'rate_limit_key', 'origin', 'repeat_intervals')
  local status, limit, queue, repeats = unpack(fields.err and {'unfit'} or fields)
  if status == 'queued' or not status then doomed[#doomed + 1] = {id, limit, queue, repeats} end
end
for _, job in ipairs(doomed) do
  local id, limit, queue, repeats = unpack(job, 1, 4)
  if limit then release_slot(prefix, limit, id, now()) end
  if repeats and queue then redis.pcall('ZREM', registry_key(prefix, 'finished', queue), id) end
  end_parent(prefix, id, 'gone', now())
  delete_job(prefix, id)
end
return #ids
