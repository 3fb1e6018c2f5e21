-- The names of the keys that a new job on its queue needs; see keys.
local function queue_key(prefix, queue) return prefix .. ':queue:' .. queue end
local function job_key(prefix, id) return prefix .. ':job:' .. id end
local function gone_key(prefix, id) return prefix .. ':aiorq:gone:' .. id end
local function some_gone_key(prefix) return prefix .. ':aiorq:gone' end
