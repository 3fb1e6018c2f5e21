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
local function suspended_key(prefix) return prefix .. ':suspended' end
local function dropped_key(prefix) return prefix .. ':aiorq:dropped' end
