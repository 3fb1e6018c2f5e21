#!lua flags=allow-oom
-- Look which entries of cron are due.
-- no change of state
--
-- KEYS[1] sorted set of next slots, KEYS[2] hash of entries
-- ARGV[1] prefix, ARGV[2] how many entries at most
-- Returns the time of the server in seconds, the next slot after that ('' for none), and for each entry that is due, the one
-- that is due for longest first: its name, its slot, and its definition ('' where there is none).
-- @include clock
-- @include dates
local upcoming, entries, most = KEYS[1], KEYS[2], tonumber(ARGV[2])
local moment = now()
local later = redis.call('ZRANGE', upcoming, string.format('(%.17g', moment), '+inf', 'BYSCORE', 'LIMIT', 0, 1, 'WITHSCORES')
local reply = {epoch(moment), later[2] or ''}
local due = most == 0 and {} or redis.call('ZRANGE', upcoming, '-inf', string.format('%.17g', moment), 'BYSCORE', 'LIMIT', 0, most, 'WITHSCORES')
for index = 1, #due, 2 do
  reply[#reply + 1] = due[index]
  reply[#reply + 1] = due[index + 1]
  reply[#reply + 1] = redis.call('HGET', entries, due[index]) or ''
end
return reply
