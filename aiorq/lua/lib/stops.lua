-- Requests to stop a run: kept under its worker until the run has ended, and then answered.

-- Tell who asked for a run to be stopped how it ended, in one word; the answer stays for a minute.
local function answer_stop(prefix, worker, token, word)
  if redis.pcall('HDEL', stops_key(prefix, worker), token) == 1 then
    local answers = answer_key(prefix, token)
    redis.pcall('XADD', answers, '*', 'outcome', word)
    redis.call('EXPIRE', answers, 60)
  end
end

-- Send a command to a worker, as RQ does. Whether it may be sent is up to the server's access rules; the request that
-- is kept, or the next renewal, tells the worker too.
local function tell_worker(prefix, worker, command) redis.pcall('PUBLISH', channel_key(prefix, worker), command) end
