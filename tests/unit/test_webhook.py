"""`Webhook`: what is accepted, beside what RQ accepts, and the text that is stored."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
import rq

from aiorq.webhook import Webhook, decode_webhooks, encode_webhooks

GOOD: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    (("https://example.org", "finished"), {}),
    (("http://example.org:8080/a?b=c#d", "failed"), {}),
    (("https://example.org", "failed"), {"method": "POST"}),
    (("https://example.org", "failed"), {"method": "GET", "headers": {"a": "b"}, "timeout": 1}),
    (("https://example.org", "finished"), {"headers": {}, "timeout": 3600}),
]
BAD: list[tuple[tuple[Any, ...], dict[str, Any], type[Exception]]] = [
    (("ftp://example.org", "finished"), {}, ValueError),
    (("example.org", "finished"), {}, ValueError),
    (("https://", "finished"), {}, ValueError),
    (("", "finished"), {}, ValueError),
    ((None, "finished"), {}, ValueError),
    ((5, "finished"), {}, ValueError),
    (("file:///etc/passwd", "finished"), {}, ValueError),
    (("https://example.org", "stopped"), {}, ValueError),
    (("https://example.org", ""), {}, ValueError),
    (("https://example.org", None), {}, ValueError),
    (("https://example.org", "failed"), {"method": "PUT"}, ValueError),
    (("https://example.org", "failed"), {"method": "post"}, ValueError),
    (("https://example.org", "failed"), {"method": None}, ValueError),
    (("https://example.org", "failed"), {"timeout": 0}, ValueError),
    (("https://example.org", "failed"), {"timeout": -1}, ValueError),
    (("https://example.org", "failed"), {"timeout": 3601}, ValueError),
    (("https://example.org", "failed"), {"timeout": True}, ValueError),
    (("https://example.org", "failed"), {"timeout": 1.5}, ValueError),
    (("https://example.org", "failed"), {"timeout": "5"}, ValueError),
    (("https://example.org", "failed"), {"headers": [("a", "b")]}, TypeError),
    (("https://example.org", "failed"), {"headers": "a"}, TypeError),
]


class TestAcceptedAndRefused:
    @pytest.mark.parametrize(("args", "options"), GOOD)
    def test_stored_text_is_that_of_rq(self, args: tuple[Any, ...], options: dict[str, Any]) -> None:
        ours, theirs = Webhook(*args, **options), rq.Webhook(*args, **options)
        assert ours.to_dict() == theirs.to_dict()
        assert encode_webhooks([ours]) == json.dumps([theirs.to_dict()])
        assert Webhook.from_dict(theirs.to_dict()) == ours
        assert decode_webhooks(encode_webhooks([ours, ours])) == [ours, ours]

    @pytest.mark.parametrize(("args", "options", "error"), BAD)
    def test_bad_ones(self, args: tuple[Any, ...], options: dict[str, Any], error: type[Exception]) -> None:
        with pytest.raises(error, match=r"^(url|job_status|method|timeout|headers) must"):
            Webhook(*args, **options)

    @pytest.mark.parametrize("number", [0, 7, 10, 13])
    def test_what_rq_refuses_is_refused(self, number: int) -> None:
        args, options, _ = BAD[number]
        with pytest.raises((ValueError, TypeError)):
            rq.Webhook(*args, **options)

    def test_headers_are_a_copy(self) -> None:
        given = {"a": "b"}
        hook = Webhook("https://example.org", "failed", headers=given)
        given["c"] = "d"
        assert hook.headers == {"a": "b"}


class TestReading:
    @pytest.mark.parametrize(
        "text",
        ["", None, "[{", "5", "null", "{}", '"x"', "[5, null, [], {}]", "[" * 100_000, '[{"url": "https://x"}]', "NaN"],
    )
    def test_what_is_none_is_left_out(self, text: str | None) -> None:
        assert decode_webhooks(text) == []

    def test_others_are_read(self) -> None:
        good = Webhook("https://example.org", "failed")
        stored = [{"url": "ftp://x", "job_status": "failed"}, good.to_dict(), {**good.to_dict(), "method": "PUT"}]
        assert decode_webhooks(json.dumps(stored)) == [good]

    def test_fields_that_are_missing_have_their_defaults(self) -> None:
        (hook,) = decode_webhooks('[{"url": "https://example.org", "job_status": "failed", "new": 1}]')
        assert (hook.method, hook.headers, hook.timeout) == ("GET", None, 10)


class TestPayload:
    MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678, UTC)

    def test_of_a_success(self) -> None:
        body = Webhook("https://example.org", "finished").payload("a", "jobs.add", self.MOMENT, self.MOMENT)
        assert body == {
            "job_id": "a",
            "func_name": "jobs.add",
            "status": "finished",
            "enqueued_at": "2026-01-02T03:04:05.000678+00:00",
            "ended_at": "2026-01-02T03:04:05.000678+00:00",
        }

    def test_of_a_failure(self) -> None:
        body = Webhook("https://example.org", "failed").payload("a", "jobs.add", None, None, "Traceback")
        assert (body["status"], body["exc_info"], body["enqueued_at"]) == ("failed", "Traceback", None)


def test_equality_and_looks() -> None:
    one = Webhook("https://example.org", "failed")
    assert one == Webhook("https://example.org", "failed")
    assert one != Webhook("https://example.org", "finished")
    assert one != "https://example.org"
    assert len({one, Webhook("https://example.org", "failed")}) == 1
    assert repr(one) == "Webhook('https://example.org', 'failed', method='GET', timeout=10)"
