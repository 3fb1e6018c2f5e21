"""`aiorq job show`, `stop`, `cancel`, `requeue`, `delete`, `result` and `wait`: one job, or some by their ids."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from aiorq.cli.mistakes import Failure, Mistake, tell
from aiorq.cli.output import console, is_terminal, print_json, run, say, width
from aiorq.cli.parameters import AsJson, Given
from aiorq.cli.settings import class_of, client_of, serializer_of
from aiorq.cli.spread import Commands

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from aiorq.inspection.details import JobDetails
    from aiorq.job import Job
    from aiorq.result import Result
    from aiorq.status import JobStatus

JobId = Annotated[str, typer.Argument(help="Id of the job.", metavar="JOB")]
JobIds = Annotated[list[str], typer.Argument(help="Ids of the jobs.", metavar="JOBS...")]
_ENDED: Final = frozenset({"finished", "failed", "stopped", "canceled"})
_REGISTRIES: Final = {"failed": "failed", "stopped": "failed"} | {
    state: state for state in ("finished", "canceled", "deferred", "scheduled")
}
_LOOK: Final = 0.25
"""Seconds between two looks at a job whose end nothing announces."""
_ANNOUNCED: Final = 1.0
"""Seconds between two looks at one whose first outcome is waited for: it may be canceled, which leaves none."""

app = Commands(
    add_completion=False,  # the whole command has it
    no_args_is_help=True,
    help="Look at a job, stop, cancel, requeue or delete it, wait for it.",
)


@app.command()
def show(
    given: Given,
    job_id: JobId,
    args: Annotated[
        bool,
        typer.Option(
            "--args",
            help="Show its arguments and its meta too. Pickled ones are read for that, which runs code of whoever "
            "enqueued the job.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show all about a job but its arguments. Nothing is changed."""

    async def main() -> JobDetails:
        from aiorq.inspection.details import tell as details_of

        async with client_of(given) as client:
            return await details_of(client, job_id, payload=args, serializer=serializer_of(given), prefix=given.prefix)

    told = run(main)
    if as_json:
        fields = asdict(told)
        print_json(fields.pop("summary") | fields)
        return
    from aiorq.cli.job_view import lines_of

    terminal = is_terminal()
    console().print(lines_of(told, width() if terminal else None), soft_wrap=not terminal)


@app.command()
def stop(
    given: Given,
    job_ids: JobIds,
    grace: Annotated[
        float | None,
        typer.Option(help="Seconds that it has to end by itself before it is killed.", show_default="the worker's"),
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for its end beyond that.")] = 30.0,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Do not wait for its end.")] = False,
    as_json: AsJson = False,
) -> None:
    """Stop jobs that run, and wait until they have ended. They are not tried again."""

    async def end(job: Job[Any]) -> str:
        status = await job.stop(grace, None if no_wait else timeout)
        return "told to stop" if no_wait else "gone" if status is None else str(status)

    _each(given, job_ids, end, as_json, at_once=True)


@app.command()
def cancel(
    given: Given,
    job_ids: JobIds,
    enqueue_dependents: Annotated[
        bool, typer.Option("--enqueue-dependents", help="Let the jobs go on that wait for it, as if it had finished.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Cancel jobs, so that they do not run (any more); what runs is killed."""

    async def end(job: Job[Any]) -> str:
        enqueued = await job.cancel(enqueue_dependents=enqueue_dependents)
        ids = [job_id for of_queue in enqueued.values() for job_id in of_queue]
        return "canceled" + (f", and enqueued {', '.join(ids)}" if ids else "")

    _each(given, job_ids, end, as_json)


@app.command()
def requeue(
    given: Given,
    job_ids: JobIds,
    at_front: Annotated[bool, typer.Option("--at-front", help="Put them at the front of their queues.")] = False,
    as_json: AsJson = False,
) -> None:
    """Put jobs that have ended, or wait for something, back on their queues."""

    async def again(job: Job[Any]) -> str:
        from aiorq.errors import InvalidJobOperation

        status = str(await job.get_status())
        if status not in _REGISTRIES:
            raise InvalidJobOperation(f"job {job.id!r} cannot be requeued: it is {status}")
        await job.requeue_from(_REGISTRIES[status], at_front)
        return f"{job.status} on {job.origin}"

    _each(given, job_ids, again, as_json)


@app.command()
def delete(
    given: Given,
    job_ids: JobIds,
    dependents: Annotated[
        bool, typer.Option("--dependents", help="Delete the jobs too that wait for it, and those that wait for these.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Delete jobs with their results, in whatever state they are; what runs is killed."""

    async def drop(job: Job[Any]) -> str:
        waiting = await job.dependent_ids() if dependents else []
        await job.delete(delete_dependents=dependents)
        return "deleted" + (f", with what waited for it: {', '.join(waiting)}" if waiting else "")

    _each(given, job_ids, drop, as_json, read=False)


@app.command()
def result(given: Given, job_id: JobId, as_json: AsJson = False) -> None:
    """Print what a job returned. Where it failed its traceback goes to stderr, and the exit code is 1."""

    async def main() -> tuple[str, Result[Any] | None]:
        async with client_of(given) as client:
            job = await _kind(given).fetch(job_id, client, serializer_of(given), prefix=given.prefix)
            return str(job.status), await job.latest_result()

    status, found = run(main)
    show_result(job_id, status, found, as_json)


@app.command()
def wait(
    given: Given,
    job_ids: JobIds,
    timeout: Annotated[
        float | None, typer.Option("--timeout", "-t", help="Seconds to wait at most.", show_default="for ever")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Wait until jobs have ended. The exit code is 0 if all of them finished, otherwise 1."""
    if timeout is not None and not timeout >= 0:
        raise Mistake(f"--timeout must not be negative, as {timeout:g} is")

    async def end(job: Job[Any]) -> str:
        from aiorq.errors import InvalidJobOperation

        try:
            async with asyncio.timeout(timeout):
                status = str(await wait_for_end(job))
        except TimeoutError:
            status = str(await job.get_status())
            raise InvalidJobOperation(f"job {job.id!r} is {status} after {timeout:g} s") from None
        if status != "finished":
            raise InvalidJobOperation(f"job {job.id!r} {'was ' if status != 'failed' else ''}{status}")
        return status

    _each(given, job_ids, end, as_json, at_once=True)


async def wait_for_end(job: Job[Any]) -> JobStatus:
    """Wait until a job has ended, whatever became of it before.

    Raises:
        InvalidJobOperation: it is gone.
    """
    from aiorq.result import Result as Results

    while True:
        status = await job.get_status()
        if str(status) in _ENDED:
            return status
        if await Results.count(job):  # of an earlier life, or of an attempt that is followed by another
            await asyncio.sleep(_LOOK)
        else:
            await job.latest_result(timeout=_ANNOUNCED)


def show_result(job_id: str, status: str, found: Result[Any] | None, as_json: bool) -> None:
    """Print the outcome of a job.

    Raises:
        Failure: it has none, or it is none of a success.
    """
    succeeded = found is not None and found.type.name == "SUCCESSFUL"
    value = found.return_value if found is not None and succeeded else None
    if as_json:
        outcome = None if found is None else found.type.name.lower()
        traceback = None if found is None else found.exc_string
        moment = None if found is None else found.created_at
        told = {"id": job_id, "status": status, "outcome": outcome, "value": value}
        print_json(told | {"traceback": traceback, "created_at": moment})
        if not succeeded:
            raise typer.Exit(1)
        return
    if found is None:
        raise Failure(f"job {job_id} has no result: it is {status}; `aiorq job wait {job_id}` waits for its end")
    if not succeeded:
        for line in (found.exc_string or "").splitlines():
            tell_line(line)
        raise Failure(f"job {job_id} has no result: it is {status}")
    for line in (value if isinstance(value, str) else repr(value)).splitlines() or [""]:
        say(line)


def tell_line(line: str) -> None:
    """Print a line of a traceback to stderr."""
    from aiorq.cli.output import note

    note(line)


def _kind(given: Given) -> type[Job[Any]]:
    from aiorq.job import Job

    found: type[Job[Any]] = class_of(given.job_class, given, "job class", Job)
    return found


def _each(
    given: Given,
    job_ids: Sequence[str],
    act: Callable[[Job[Any]], Awaitable[str]],
    as_json: bool,
    *,
    at_once: bool = False,
    read: bool = True,
) -> None:
    """Do something to each job; what fails of one does not keep it from the others, and makes the exit code 1.

    Args:
        given: where.
        job_ids: of the jobs.
        act: what to do; gives the word for what was done.
        as_json: print JSON.
        at_once: do it to all at the same time, since it takes time.
        read: read the jobs first; otherwise it is enough that they are there.
    """
    from aiorq.errors import AiorqError, ConnectionLostError, NoSuchJobError
    from aiorq.keys import check_job_id

    ids = [check_job_id(job_id) for job_id in dict.fromkeys(job_ids)]

    async def one(client: Redis, job_id: str) -> dict[str, Any]:
        kind = _kind(given)
        try:
            if read:
                job = await kind.fetch(job_id, client, serializer_of(given), prefix=given.prefix)
            else:
                job = kind(job_id, client, serializer_of(given), prefix=given.prefix)
                if not await kind.exists(job_id, client, prefix=given.prefix):
                    raise NoSuchJobError(job_id)
            done = await act(job)
        except ConnectionLostError:
            raise
        except AiorqError as error:
            outcome: dict[str, Any] = {"id": job_id, "ok": False, "done": None, "error": str(error)}
        else:
            outcome = {"id": job_id, "ok": True, "done": done, "error": None}
        if not as_json:
            if outcome["ok"]:
                say(f"{job_id}: {outcome['done']}")
            else:
                tell(str(outcome["error"]))
        return outcome

    async def main() -> list[dict[str, Any]]:
        async with client_of(given) as client:
            if at_once:
                return list(await asyncio.gather(*(one(client, job_id) for job_id in ids)))
            return [await one(client, job_id) for job_id in ids]

    outcomes = run(main)
    if as_json:
        print_json(outcomes)
    if not all(outcome["ok"] for outcome in outcomes):
        raise typer.Exit(1)
