#!lua flags=allow-oom
-- Take note that runs have begun: from here on their jobs are lost with their worker, not merely put back.
-- no change of state
--
-- KEYS[1] worker (for its slot; not changed)
-- ARGV[1] prefix, then for each run: queue, id, execution id
-- Returns for each run 1, or 0 when it does not hold its place any more: it must not go on.
-- @include keys
-- @include clock
-- @include dates
-- @include stops
-- @include execution
local prefix = ARGV[1]
local moment = now()
local stamp, date = epoch(moment), iso(moment)
local reply = {}
for index = 2, #ARGV, 3 do
  local queue, id, token = ARGV[index], ARGV[index + 1], ARGV[index + 2]
  local held = holds(prefix, queue, id, token)
  if held then mark_begun(prefix, id, token, stamp, date) end
  reply[#reply + 1] = held and 1 or 0
end
return reply
