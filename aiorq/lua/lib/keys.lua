-- The names of keys below a prefix; aiorq/keys.py holds the same names.
local function queues_key(prefix) return prefix .. ':queues' end
local function queue_key(prefix, queue) return prefix .. ':queue:' .. queue end
local function job_key(prefix, id) return prefix .. ':job:' .. id end
local function dependents_key(prefix, id) return prefix .. ':job:' .. id .. ':dependents' end
local function dependencies_key(prefix, id) return prefix .. ':job::' .. id .. ':dependencies' end
local function results_key(prefix, id) return prefix .. ':results:' .. id end
local function executions_key(prefix, id) return prefix .. ':executions:' .. id end
local function execution_key(prefix, id, token) return prefix .. ':execution:' .. id .. ':' .. token end
local function registry_key(prefix, kind, queue) return prefix .. ':' .. kind .. ':' .. queue end
local function workers_key(prefix) return prefix .. ':workers' end
local function queue_workers_key(prefix, queue) return prefix .. ':workers:' .. queue end
local function worker_key(prefix, name) return prefix .. ':worker:' .. name end
local function worker_executions_key(prefix, name) return prefix .. ':worker:' .. name .. ':executions' end
local function inbox_key(prefix, worker, queue) return prefix .. ':aiorq:inbox:' .. worker .. ':' .. queue end
local function ended_key(prefix, token) return prefix .. ':aiorq:ended:' .. token end
local function gone_key(prefix, id) return prefix .. ':aiorq:gone:' .. id end
local function some_gone_key(prefix) return prefix .. ':aiorq:gone' end
local function suspended_key(prefix) return prefix .. ':suspended' end
local function dropped_key(prefix) return prefix .. ':aiorq:dropped' end
local function intermediate_key(prefix, queue) return prefix .. ':queue:' .. queue .. ':intermediate' end
local function first_seen_key(prefix, queue, id) return intermediate_key(prefix, queue) .. ':first_seen:' .. id end
local function scheduler_lock_key(prefix, queue) return prefix .. ':scheduler-lock:' .. queue end
local function scheduler_key(prefix, name) return prefix .. ':scheduler:' .. name end
local function channel_key(prefix, worker) return prefix .. ':pubsub:' .. worker end
local function inboxes_key(prefix) return prefix .. ':aiorq:inboxes' end
local function leader_key(prefix) return prefix .. ':aiorq:leader' end
local function stops_key(prefix, worker) return prefix .. ':aiorq:stops:' .. worker end
local function answer_key(prefix, token) return prefix .. ':aiorq:answer:' .. token end
local function limits_key(prefix) return prefix .. ':rl-keys' end
local function limit_key(prefix, limit) return prefix .. ':rl:' .. limit end
local function allowed_key(prefix, limit) return prefix .. ':rl:' .. limit .. ':allowed' end
local function limited_key(prefix, limit) return prefix .. ':rl:' .. limit .. ':rate_limited' end
local function groups_key(prefix) return prefix .. ':groups' end
local function group_key(prefix, group) return prefix .. ':group:' .. group end
local function paused_key(prefix) return prefix .. ':aiorq:paused' end
local function attempts_key(prefix, id) return prefix .. ':aiorq:attempts:' .. id end
local function waits_key(prefix, id) return prefix .. ':aiorq:waits:' .. id end
local function due_key(prefix) return prefix .. ':aiorq:due' end
local function ended_parents_key(prefix) return prefix .. ':aiorq:parents' end
local function parting_key(prefix, part) return prefix .. ':aiorq:parting:' .. part end
local function cron_entries_key(prefix) return prefix .. ':aiorq:cron' end
local function cron_next_key(prefix) return prefix .. ':aiorq:cron:next' end
local function cron_changed_key(prefix) return prefix .. ':aiorq:cron:changed' end
local function cron_state_key(prefix, name) return prefix .. ':aiorq:cron:state:' .. name end
local function cron_fields_key(prefix, name) return prefix .. ':aiorq:cron:fields:' .. name end
local function cron_schedulers_key(prefix) return prefix .. ':cron_schedulers' end
local function cron_scheduler_key(prefix, name) return prefix .. ':cron_scheduler:' .. name end
local function cron_jobs_key(prefix) return prefix .. ':cron_jobs' end
local function cron_history_key(prefix, name) return prefix .. ':cron_job:' .. name .. ':jobs' end
