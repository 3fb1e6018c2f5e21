#!lua
-- List a job among the failed ones by hand, whatever its state, which stays. One that neither waits nor runs is kept as long
-- as its entry, as in RQ; one that does must not go before its turn has come.
-- no change of state
--
-- KEYS[1] registry, KEYS[2] job
-- ARGV[1] prefix, ARGV[2] id, ARGV[3] seconds from now, negative for ever
-- Returns 1, or 0 when it was listed before and has another score now.
-- @include keys
-- @include clock
-- @include dates
-- @include stops
-- @include place
-- @include job
local registry, key, prefix, id, ttl = KEYS[1], KEYS[2], ARGV[1], ARGV[2], tonumber(ARGV[3])
local entered = redis.call('ZADD', registry, ttl >= 0 and math.floor(now()) + ttl or -1, id)
local status = redis.pcall('HGET', key, 'status')
local rests = {created = true, finished = true, failed = true, stopped = true, canceled = true}
if ttl > 0 and type(status) == 'string' and rests[status] then
  expire_job(prefix, id, ttl)
  limit_results(prefix, id, ttl)
end
return entered
