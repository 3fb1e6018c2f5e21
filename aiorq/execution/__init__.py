"""Running jobs in processes of their own. Nothing here knows Redis, or why a job runs.

`frames` carries messages between processes, `zygote` forks, `horse` runs one job, `outcome` says how it ended, `memory`
whether it was for want of memory, and `forking` is the supervisor's end of it all.
"""
