"""HTTP requests that are made when a job has ended."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final, Literal
from urllib.parse import urlsplit

DEFAULT_TIMEOUT: Final = 10
"""Seconds that a request may take when nothing else is said (RQ)."""
_MAX_TIMEOUT: Final = 3600


class Webhook:
    """A request to make once a job has finished, or has failed for good. It changes nothing for the job if it fails."""

    def __init__(
        self,
        url: str,
        job_status: Literal["finished", "failed"],
        *,
        method: Literal["GET", "POST"] = "GET",
        headers: Mapping[str, str] | None = None,
        timeout: int = DEFAULT_TIMEOUT,
    ) -> None:
        """Describe a request.

        Args:
            url: http or https.
            job_status: when: `finished` or `failed`.
            method: `GET`, or `POST` with a JSON body (`payload`).
            headers: of the request.
            timeout: seconds, 1 to 3600.

        Raises:
            ValueError, TypeError: something else.
        """
        parts = urlsplit(str(url))
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ValueError(f"url must be an http:// or https:// URL, not {url!r}")
        if job_status not in ("finished", "failed"):
            raise ValueError(f"job_status must be 'finished' or 'failed', not {job_status!r}")
        if method not in ("GET", "POST"):
            raise ValueError(f"method must be 'GET' or 'POST', not {method!r}")
        if headers is not None and not isinstance(headers, Mapping):
            raise TypeError(f"headers must be a dict or None, not {type(headers).__name__}")
        if type(timeout) is not int or not 1 <= timeout <= _MAX_TIMEOUT:
            raise ValueError(f"timeout must be 1 to {_MAX_TIMEOUT} seconds, not {timeout!r}")
        self.url = url
        self.job_status = job_status
        self.method = method
        self.headers = None if headers is None else dict(headers)
        self.timeout = timeout

    def __repr__(self) -> str:
        return f"Webhook({self.url!r}, {self.job_status!r}, method={self.method!r}, timeout={self.timeout})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Webhook) and other.to_dict() == self.to_dict()

    def __hash__(self) -> int:
        return hash((self.url, self.job_status, self.method))

    def to_dict(self) -> dict[str, Any]:
        """As RQ stores it."""
        return {
            "url": self.url,
            "job_status": self.job_status,
            "method": self.method,
            "headers": self.headers,
            "timeout": self.timeout,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Webhook:
        """Read what RQ stores.

        Raises:
            KeyError, TypeError, ValueError: it is no webhook.
        """
        return cls(
            data["url"],
            data["job_status"],
            method=data.get("method", "GET"),
            headers=data.get("headers"),
            timeout=data.get("timeout", DEFAULT_TIMEOUT),
        )

    def payload(
        self,
        job_id: str,
        func_name: str,
        enqueued_at: datetime | None,
        ended_at: datetime | None,
        exc_string: str | None = None,
    ) -> dict[str, Any]:
        """The body of a POST (RQ's): id, function, state and dates; of a failure its traceback too."""
        body: dict[str, Any] = {
            "job_id": job_id,
            "func_name": func_name,
            "status": self.job_status,
            "enqueued_at": None if enqueued_at is None else enqueued_at.isoformat(),
            "ended_at": None if ended_at is None else ended_at.isoformat(),
        }
        if self.job_status == "failed":
            body["exc_info"] = exc_string
        return body


def encode_webhooks(webhooks: Iterable[Webhook]) -> str:
    """RQ's text of webhooks."""
    return json.dumps([webhook.to_dict() for webhook in webhooks])


def decode_webhooks(text: str | None) -> list[Webhook]:
    """Read RQ's text of webhooks; what is none is left out, as in RQ."""
    try:
        found = json.loads(text or "[]")
    except (ValueError, RecursionError):
        return []
    webhooks = []
    for data in found if isinstance(found, list) else []:
        try:
            webhooks.append(Webhook.from_dict(data))
        except (KeyError, TypeError, ValueError, AttributeError):
            continue
    return webhooks
