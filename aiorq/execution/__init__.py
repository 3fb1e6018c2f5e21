"""Running jobs in processes of their own. Nothing here knows Redis, or why a job runs.

`frames` carries messages between processes, `zygote` forks, `horse` runs one job, `around` what goes before and after
its function, `memory` tells whether a process ended for want of memory, `forking` is the supervisor's end of it all.
"""
