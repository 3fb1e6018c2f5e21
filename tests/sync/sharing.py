"""Threads and forked processes put jobs on one `Queue` object, which was used before the forks: a script.

    sharing.py URL PROCESSES THREADS JOBS [single]

Each process, this one too, starts the threads, and each of these enqueues so many jobs and looks at some of them.
"""

from __future__ import annotations

import os
import sys
import threading

from redis import Redis

from aiorq.sync import Job, Queue


def enqueue(queue: Queue, name: str, count: int, failures: list[str]) -> None:
    """Enqueue jobs and see that answers belong to questions."""
    try:
        for number in range(count):
            job = queue.enqueue("jobs.echo", name, number, job_id=f"{name}-{number}")
            if number % 50 == 0:
                fetched = Job.fetch(job.id, queue.connection)
                if (fetched.args, fetched.is_queued) != ((name, number), True):
                    failures.append(f"{job.id} is {fetched.args}")
    except BaseException as error:
        failures.append(f"{name}: {error!r}")
        raise


def work(queue: Queue, process: int, threads: int, count: int) -> int:
    """Run the threads of one process; returns how many of them failed."""
    failures: list[str] = []
    running = [
        threading.Thread(target=enqueue, args=(queue, f"{process}-{number}", count, failures))
        for number in range(threads)
    ]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    for failure in failures:
        print(failure, flush=True)
    return len(failures)


def main() -> int:
    url, processes, threads, count = sys.argv[1], *map(int, sys.argv[2:5])
    connection = Redis.from_url(url, single_connection_client="single" in sys.argv)
    queue = Queue(connection=connection)
    queue.enqueue("jobs.nothing", job_id="preloaded")  # as with gunicorn's --preload: before the forks
    assert len(queue) == 1
    children = []
    for number in range(1, processes + 1):
        child = os.fork()
        if child == 0:
            os._exit(min(work(queue, number, threads, count), 100))
        children.append(child)
    failed = work(queue, 0, threads, count)
    for child in children:
        failed += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(len(queue))
    connection.close()
    return failed


if __name__ == "__main__":
    sys.exit(main())
