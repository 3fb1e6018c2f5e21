"""The only callers of Redis: one module for each subject, over one transport.

`connection` makes clients, `transport` carries commands, `base` ties a transport to key names; `jobs`, `queues`,
`runs`, `results` and `workers` say what is sent and what the answers mean. Nothing above this package knows a Redis
command.
"""
