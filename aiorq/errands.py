"""What a job's callbacks are called with, and the requests that are made when it has ended, where user code runs."""

from __future__ import annotations

import base64
import json
import logging
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast
from urllib.error import HTTPError
from urllib.parse import urljoin, urlsplit

from aiorq import __version__
from aiorq.call import import_name
from aiorq.current import CurrentRun
from aiorq.errors import AiorqError
from aiorq.job import current_job_of
from aiorq.placement import PlacedJob
from aiorq.record import JobRecord, decode_traceback
from aiorq.status import JobStatus
from aiorq.store.connection import connect_sync_as
from aiorq.webhook import Webhook

if TYPE_CHECKING:
    from redis import Redis

log = logging.getLogger(__name__)

NAME = f"{__name__}.Supplies"
"""The dotted name for `execution.horse.Context`."""
BLOCKING = "aiorq.sync.job.current_job_of"
"""What gives functions their job. Named and not imported: it is built upon this, and not every process needs it."""
_PRIVATE = ("Authorization", "Cookie", "Proxy-authorization")  # headers that are for one host alone


class Supplies:
    """Gives the callbacks of one run their job and their connection, and sends its webhooks."""

    def __init__(self, run: CurrentRun) -> None:
        """Connects nothing yet."""
        self._run = run
        self._connection: Redis | None = None
        self._ended_at: datetime | None = None
        self._told_rq: Any = None

    def job(self, status: str, *, in_loop: bool) -> PlacedJob:
        """The job as the function had it, or would have had it, in the state that it comes to.

        Args:
            status: that state.
            in_loop: whether it is for a coroutine, which gets a job of the async API; a function gets one of
                `aiorq.sync`, as it would in RQ.
        """
        find = current_job_of if in_loop else cast("Callable[[CurrentRun], PlacedJob]", import_name(BLOCKING))
        earlier = [handle for handle in self._run.handles.values() if isinstance(handle, JobRecord)]
        job = find(self._run)
        # What the function has set on its job is there for the callbacks.
        if earlier and all(job is not other for other in earlier):
            job.take_after(earlier[0])
        job.status = JobStatus(status)
        if job.status is not JobStatus.STARTED:
            self._ended_at = job.ended_at = self._ended_at or datetime.now(UTC)
        return job

    def connection(self) -> Redis:
        """A blocking client, the same each time."""
        if self._connection is None:
            self._connection = connect_sync_as(dict(self._run.connection))
        return self._connection

    def tell_rq(self) -> None:
        """Have `rq.get_current_job()` give the job as one of RQ's, until `close`; for functions that import rq."""
        rq: Any = sys.modules["rq.job"]
        try:
            job = rq.Job(self._run.job_id, connection=self.connection(), serializer=self._run.serializer)
            job.restore(dict(self._run.fields))
            self._run.keep("rq", job)
            self._told_rq = rq._current_job.set(job)
        except Exception as error:  # noqa: BLE001 - an rq of another kind, which the function may not ask at all
            log.warning("rq.get_current_job() will not know job %s: %s", self._run.job_id, error)

    def close(self) -> None:
        """Close the client, and leave rq as it was."""
        if self._told_rq is not None:
            sys.modules["rq.job"]._current_job.reset(self._told_rq)
            self._told_rq = None
        if self._connection is not None:
            self._connection.close()

    def send_webhook(self, job: JobRecord, webhook: Mapping[str, Any], ended_at: float, traceback: bytes) -> None:
        """Make a request; see the function of that name."""
        send_webhook(job, webhook, ended_at, traceback)


def send_webhook(job: JobRecord, webhook: Mapping[str, Any], ended_at: float, traceback: bytes) -> None:
    """Tell of a job's end.

    Args:
        job: whose end is told.
        webhook: as RQ stores one.
        ended_at: seconds since 1970.
        traceback: of a job that failed, as RQ stores it; empty for none.

    Raises:
        OSError: there is no answer, it is no success, or it leads to a place that is not gone to.
    """
    try:
        name = job.func_name
    except AiorqError:  # the call cannot be read, which may be why it failed
        name = ""
    text = decode_traceback(base64.b64decode(traceback)) if traceback else ""
    hook = Webhook.from_dict(webhook)
    send(hook, hook.payload(job.id, name, job.enqueued_at, datetime.fromtimestamp(ended_at, UTC), text))


def send(webhook: Webhook, payload: Mapping[str, Any]) -> None:
    """Make the request of a webhook; a redirection is followed to http and https only, and never from https to http.

    Args:
        webhook: what to send where.
        payload: of a POST.

    Raises:
        OSError: there is no answer, it is no success, or it leads to a place that is not gone to.
    """
    from urllib import request as urllib_request  # it costs every process that imports this some megabytes

    class Redirects(urllib_request.HTTPRedirectHandler):
        def http_error_302(self, req: Any, fp: Any, code: int, msg: str, headers: Any) -> Any:
            target = urljoin(req.full_url, headers.get("location") or headers.get("uri") or "")
            # Seen to before the library does, whose error shows the whole URL.
            if urlsplit(target).scheme not in ("https", urlsplit(req.full_url).scheme):
                raise HTTPError(target, code, f"{msg}, to where is not followed", headers, fp)
            return super().http_error_302(req, fp, code, msg, headers)

        http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302

        def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
            request = super().redirect_request(req, fp, code, msg, headers, newurl)
            if request is not None and urlsplit(newurl).netloc != urlsplit(req.full_url).netloc:
                for name in _PRIVATE:
                    request.remove_header(name)
            return request

    opener = urllib_request.OpenerDirector()  # `build_opener` would add handlers of files and FTP
    for handler in (
        urllib_request.ProxyHandler,
        urllib_request.HTTPHandler,
        urllib_request.HTTPSHandler,
        urllib_request.HTTPDefaultErrorHandler,
        urllib_request.HTTPErrorProcessor,
        Redirects,
    ):
        opener.add_handler(handler())
    headers = {"User-Agent": f"aiorq/{__version__}"}
    body = None
    if webhook.method == "POST":
        headers["Content-Type"] = "application/json"
        body = json.dumps(payload).encode()
    headers |= webhook.headers or {}
    request = urllib_request.Request(webhook.url, body, headers, method=webhook.method)  # noqa: S310 - see `Webhook`
    with opener.open(request, timeout=webhook.timeout):
        pass
