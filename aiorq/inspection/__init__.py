"""What there is, for people: queues, workers and jobs as operators want to see them.

`overview` counts and lists who works, `listing` pages through jobs, `details` tells all about one of them, `summary`
reads what a list shows of a job, `health` says whether what was seen is as it should be. A look changes nothing, asks
Redis in few round trips whatever there is, and shows damage in its place instead of failing on it. No code of a
job's is run: pickles are not read, unless somebody asks for the arguments.
"""
