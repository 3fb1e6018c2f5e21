#!lua flags=allow-oom
-- Show a page of a registry in its order, with or without what has expired there.
-- no change of state
--
-- KEYS[1] registry
-- ARGV[1] prefix, ARGV[2] 'all', 'live' to leave out what has expired (a score from 0 to now), or 'expired' for that alone,
-- ARGV[3] first index, ARGV[4] last index, both included, negative ones counted from the end, ARGV[5] '1' for the last
-- ones first, ARGV[6] what counts as now (seconds; '' for the time of the server)
-- Returns what counted as now (seconds), how many entries there are, the index of the first one of the page, then the page.
-- @include keys
-- @include clock
-- @include dates
local registry, shown, first, last = KEYS[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local reversed, moment = ARGV[5] == '1', tonumber(ARGV[6]) or now()
local total = redis.call('ZCARD', registry)
-- What has expired stands together: behind what has a negative score, which is kept for ever, and before the rest.
local spans = {{0, total}}
if shown ~= 'all' then
  local before = redis.call('ZCOUNT', registry, '-inf', '(0')
  local behind = before + redis.call('ZCOUNT', registry, 0, epoch(moment))
  spans = shown == 'live' and {{0, before}, {behind, total}} or {{before, behind}}
end
local size = 0
for _, span in ipairs(spans) do size = size + span[2] - span[1] end
if first < 0 then first = math.max(0, size + first) end
if last < 0 then last = size + last end
local reply = {epoch(moment), size, first}
local passed = 0
for index = 1, #spans do
  local from, to = unpack(spans[reversed and #spans + 1 - index or index])
  if reversed then from, to = total - to, total - from end
  local lowest, highest = from + math.max(0, first - passed), from + math.min(to - from - 1, last - passed)
  if lowest <= highest then
    local page = reversed and redis.call('ZRANGE', registry, lowest, highest, 'REV')
      or redis.call('ZRANGE', registry, lowest, highest)
    for _, member in ipairs(page) do reply[#reply + 1] = member end
  end
  passed = passed + to - from
end
return reply
