#!lua flags=allow-oom
-- Put jobs on their queues that are due, or behind their rate limits: some at a time, of all the queues the earliest first.
-- scheduled -> queued | rate_limited
--
-- KEYS[1] set of queues, then pairs of a queue's registry of scheduled jobs and its list
-- ARGV[1] prefix, ARGV[2] how many entries to look at, at most
-- Returns how many jobs were put there, and the seconds until the next job of these queues is due, by the server's clock:
-- '0' when more are due now, '' when there is none.
--
-- Entries whose job is gone or elsewhere are removed. A job whose place is a key of another type stays where it is, and
-- does not count as due. A queue whose schedule a scheduler of RQ's looks after is left out.
-- @include keys
-- @include clock
-- @include dates
-- @include stops
-- @include place
-- @include job
-- @include scheduler
-- @include promote
local queues, prefix, most = KEYS[1], ARGV[1], tonumber(ARGV[2])
local moment = now()
local head = #queue_key(prefix, '') + 1
-- So many jobs may stay where they are before a call goes no further.
local held_left = 1000

local function range(registry, ...)
  local page = redis.pcall('ZRANGE', registry, ...)
  return page.err and {} or page
end

local places = {}
for index = 2, #KEYS, 2 do
  local queue = string.sub(KEYS[index + 1], head)
  if not is_left_to_rq(prefix, queue) then
    places[#places + 1] = {registry = KEYS[index], list = KEYS[index + 1], queue = queue, held = 0}
  end
end
local size = math.max(10, math.ceil(most / math.max(1, #places)))

-- Go on to the next job of a queue that is due; false when there is none.
local function advance(place)
  if not place.page or place.index > #place.page and place.index > 2 * size then
    place.page = range(place.registry, '-inf', moment, 'BYSCORE', 'LIMIT', place.held, size, 'WITHSCORES')
    place.index = 1
  end
  place.id, place.score = place.page[place.index], tonumber(place.page[place.index + 1])
  place.index = place.index + 2
  return place.id ~= nil
end

local due = {}
for _, place in ipairs(places) do
  if advance(place) then
    local kind = redis.call('TYPE', place.list).ok
    if kind == 'list' or kind == 'none' then due[#due + 1] = place end
  end
end
local moved, looked = 0, 0
while looked < most and #due > 0 and held_left > 0 do
  local first = 1
  for index = 2, #due do
    if due[index].score < due[first].score then first = index end
  end
  local place = due[first]
  local word = promote_job(prefix, place.registry, place.queue, place.id, 'scheduled', moment)
  if word == 'held' then
    place.held = place.held + 1
    held_left = held_left - 1
  else
    looked = looked + 1
    if word ~= 'dropped' then
      moved = moved + 1
      if not place.known then redis.pcall('SADD', queues, place.list) end
      place.known = true
    end
  end
  if not advance(place) then table.remove(due, first) end
end
if #due > 0 and held_left > 0 then return {moved, '0'} end
local nearest
for _, place in ipairs(places) do
  local score = tonumber(range(place.registry, string.format('(%.17g', moment), '+inf', 'BYSCORE', 'LIMIT', 0, 1, 'WITHSCORES')[2])
  if score and not (nearest and nearest <= score) then nearest = score end
end
return {moved, nearest and epoch(nearest - moment) or ''}
