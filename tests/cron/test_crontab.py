"""When something recurs: expressions, intervals, timezones, and the hours when clocks are changed."""

from __future__ import annotations

import random
import zoneinfo
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise

import pytest

from aiorq.crontab import ALIASES, Recurrence, local_timezone

HOWE = "Australia/Lord_Howe"
NEW_YORK = "America/New_York"
LONDON = "Europe/London"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


DAILY = [
    # Zone, expression, the instant before, and the next slots in UTC. Spring: a time that does not exist.
    (NEW_YORK, "30 2 * * *", "2026-03-07T12:00", ["2026-03-08T07:00", "2026-03-09T06:30"]),
    (LONDON, "30 1 * * *", "2026-03-28T12:00", ["2026-03-29T01:00", "2026-03-30T00:30"]),
    (HOWE, "15 2 * * *", "2026-10-03T00:00", ["2026-10-03T15:30", "2026-10-04T15:15"]),
    # Autumn: a time that comes twice.
    (NEW_YORK, "30 1 * * *", "2026-10-31T12:00", ["2026-11-01T05:30", "2026-11-02T06:30"]),
    (LONDON, "30 1 * * *", "2026-10-24T12:00", ["2026-10-25T00:30", "2026-10-26T01:30"]),
    (HOWE, "45 1 * * *", "2026-04-04T00:00", ["2026-04-04T14:45", "2026-04-05T15:15"]),
    # Asked in the second of two hours with the same times: the first one is not the future.
    (NEW_YORK, "30 1 * * *", "2026-11-01T06:10", ["2026-11-02T06:30"]),
    (LONDON, "30 1 * * *", "2026-10-25T01:10", ["2026-10-26T01:30"]),
    (HOWE, "45 1 * * *", "2026-04-04T15:05", ["2026-04-05T15:15"]),
]
"""Where clocks are changed: what runs at a certain time runs once that day."""
CHANGES = [
    (NEW_YORK, "2026-03-08T05:00"),
    (NEW_YORK, "2026-11-01T04:00"),
    (LONDON, "2026-03-28T23:00"),
    (LONDON, "2026-10-24T23:00"),
    (HOWE, "2026-04-04T13:00"),
    (HOWE, "2026-10-03T13:00"),
]
"""Some hours before each change."""


@pytest.mark.parametrize(("zone", "cron", "moment", "slots"), DAILY)
def test_daily_when_clocks_change(zone: str, cron: str, moment: str, slots: list[str]) -> None:
    recurrence = Recurrence(cron, timezone=zone)
    first = recurrence.next_after(at(moment))
    assert first is not None
    assert list(islice(recurrence.slots(first, at("2027-01-01")), len(slots))) == [at(slot) for slot in slots]


@pytest.mark.parametrize(("zone", "moment"), CHANGES)
def test_half_hourly_when_clocks_change(zone: str, moment: str) -> None:
    """Every half hour that passes has its slot: none is left out, and none comes twice."""
    recurrence = Recurrence("*/30 * * * *", timezone=zone)
    expected = [at(moment) + timedelta(minutes=30 * number) for number in range(1, 13)]
    assert list(recurrence.slots(expected[0], expected[-1])) == expected
    assert recurrence.next_after(at(moment)) == expected[0]


@pytest.mark.parametrize(("zone", "moment"), CHANGES)
def test_clocks_do_change_then(zone: str, moment: str) -> None:
    offsets = {(at(moment) + timedelta(hours=hour)).astimezone(zoneinfo.ZoneInfo(zone)).utcoffset() for hour in (0, 6)}
    assert len(offsets) == 2


@pytest.mark.parametrize("zone", [NEW_YORK, LONDON, HOWE, "UTC", "Asia/Kathmandu"])
@pytest.mark.parametrize("cron", ["*/7 * * * *", "0 */5 * * *", "59 1 * * *", "0 0 * * SUN", "*/20 30 2 * * *"])
def test_slots_go_forward(zone: str, cron: str) -> None:
    recurrence = Recurrence(cron, timezone=zone)
    first = recurrence.next_after(at("2026-01-01"))
    assert first is not None
    slots = list(islice(recurrence.slots(first, at("2027-06-01")), 3000))
    assert all(earlier < later for earlier, later in pairwise(slots))
    chosen = random.Random(5)
    for earlier, later in chosen.sample(list(pairwise(slots)), min(100, len(slots) - 1)):
        between = earlier + (later - earlier) * chosen.random()
        assert recurrence.next_after(min(between, later - timedelta.resolution)) == later


def test_long_expression() -> None:
    assert Recurrence("1," * 95 + "1 * * * *", timezone="UTC").next_after(at("2026-01-01T00:01")) == at(
        "2026-01-01T01:01"
    )


def test_seconds_come_first() -> None:
    recurrence = Recurrence("*/20 30 * * * *", timezone="UTC")
    slots = list(islice(recurrence.slots(at("2026-01-01T00:30:00"), at("2026-01-02")), 4))
    assert slots == [at(f"2026-01-01T{text}") for text in ("00:30:00", "00:30:20", "00:30:40", "01:30:00")]


@pytest.mark.parametrize(("word", "expression"), ALIASES.items())
def test_words(word: str, expression: str) -> None:
    moment = at("2026-05-05T05:05:05")
    expected = Recurrence(expression, timezone="UTC").next_after(moment)
    assert Recurrence(word.upper(), timezone="UTC").next_after(moment) == expected


def test_more_of_cron() -> None:
    moment = at("2026-05-05T05:05:05")
    for cron, slot in {
        "0 12 L * *": "2026-05-31T12:00",
        "0 12 * * 5#2": "2026-05-08T12:00",
        "0 12 1 JAN *": "2027-01-01T12:00",
        "0 12 29 2 *": "2028-02-29T12:00",
        "  0   12 * *  MON ": "2026-05-11T12:00",
    }.items():
        assert Recurrence(cron, timezone="UTC").next_after(moment) == at(slot)


@pytest.mark.parametrize(
    ("cron", "text"),
    [
        ("60 * * * *", "minute"),
        ("* 24 * * *", "hour"),
        ("* * 32 * *", "day-of-month"),
        ("* * * 13 *", "month"),
        ("* * * * 8", "day-of-week"),
        ("60 * * * * *", "second"),
        ("* * 31 2 *", "never comes true"),
        ("0 0 30 2 *", "never comes true"),
        ("* * * *", "4 fields"),
        ("* * * * * * *", "7 fields"),
        ("", "0 fields"),
        ("   ", "0 fields"),
        ("@reboot", "@hourly"),
        ("@", "@hourly"),
        ("a b c d e", "minute"),
        ("*/0 * * * *", "minute"),
        ("-1 * * * *", "minute"),
        ("5-1 * * * *", "minute"),
        ("1,,2 * * * *", "minute"),
        ("* * * * \N{SNAKE}", "day-of-week"),
        ("0 0 1 1 2030-9999", "day-of-week"),
        ("*" * 300, "200 characters"),
        ("\x00 * * * *", "minute"),
    ],
)
def test_expressions_that_cannot_be(cron: str, text: str) -> None:
    with pytest.raises(ValueError, match=f"cron: .*{text}") as caught:
        Recurrence(cron, timezone="UTC")
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("cron", [5, b"* * * * *", ["*"], object()])
def test_expressions_that_are_no_text(cron: object) -> None:
    with pytest.raises(TypeError, match="cron: "):
        Recurrence(cron, timezone="UTC")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "zone", ["Mars/Olympus", "", "../etc/passwd", "Europe", "/etc/localtime", "UTC\x00", "x" * 5000, "\ud800"]
)
def test_timezones_that_are_none(zone: str) -> None:
    if zone == "":
        assert Recurrence("@daily", timezone=zone).timezone == local_timezone()
        return
    with pytest.raises(ValueError, match="timezone: "):
        Recurrence("@daily", timezone=zone)


@pytest.mark.parametrize("zone", [5, UTC])
def test_timezones_that_are_no_text(zone: object) -> None:
    with pytest.raises(TypeError, match="timezone: "):
        Recurrence("@daily", timezone=zone)  # type: ignore[arg-type]


@pytest.mark.parametrize("interval", [0, -1, -(10**30), 10**30, 3_153_600_001])
def test_intervals_out_of_range(interval: int) -> None:
    with pytest.raises(ValueError, match="interval: "):
        Recurrence(interval=interval)


@pytest.mark.parametrize("interval", [1.5, "60", True, timedelta(60)])
def test_intervals_that_are_no_numbers(interval: object) -> None:
    with pytest.raises(TypeError, match="interval: "):
        Recurrence(interval=interval)  # type: ignore[arg-type]


def test_one_of_both() -> None:
    with pytest.raises(ValueError, match="either cron= or interval="):
        Recurrence()
    with pytest.raises(ValueError, match="either cron= or interval="):
        Recurrence("@daily", 5)
    with pytest.raises(ValueError, match="timezone: "):
        Recurrence(interval=5, timezone="UTC")


def test_end_of_time() -> None:
    recurrence = Recurrence("@daily", timezone=HOWE)
    assert recurrence.next_after(datetime(9999, 12, 31, tzinfo=UTC)) is None
    assert recurrence.next_after(datetime(9000, 1, 1, tzinfo=UTC)) is None
    assert list(recurrence.slots(datetime(8999, 12, 31, 13, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC))) != []
    assert Recurrence(interval=1).next_after(datetime(9999, 12, 31, tzinfo=UTC)) is None


def test_timezone_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", ":America/New_York")
    assert local_timezone() == NEW_YORK
    assert Recurrence("@daily").timezone == NEW_YORK
    monkeypatch.setenv("TZ", "Nowhere")
    zoneinfo.ZoneInfo(local_timezone())


def test_equality() -> None:
    assert Recurrence("@daily", timezone="UTC") == Recurrence("@daily", timezone="UTC")
    assert Recurrence("@daily", timezone="UTC") != Recurrence("@daily", timezone=LONDON)
    assert Recurrence(interval=5) != Recurrence(interval=6)
    assert len({Recurrence(interval=5), Recurrence(interval=5)}) == 1


class TestPassingOver:
    @pytest.fixture(params=["interval", "minutely", "sparse", "dense"])
    def recurrence(self, request: pytest.FixtureRequest) -> Recurrence:
        return {
            "interval": Recurrence(interval=7),
            "minutely": Recurrence("* * * * *", timezone=LONDON),
            "sparse": Recurrence("0 9-17/3 * * MON", timezone=HOWE),
            "dense": Recurrence("*/5 * 3 1 * *", timezone="UTC"),
        }[request.param]

    def test_like_going_through_all(self, recurrence: Recurrence) -> None:
        first = at("2026-03-01T00:00:00.125") if recurrence.interval else recurrence.next_after(at("2026-03-01"))
        assert first is not None
        slots = list(islice(recurrence.slots(first, at("2100-01-01")), 500))
        chosen = random.Random(3)
        for until in [slots[9], slots[9] + timedelta.resolution, *(slots[chosen.randrange(2, 499)] for _ in range(5))]:
            before = [slot for slot in slots if slot < until]
            following = next(slot for slot in slots if slot >= until)
            assert recurrence.first_from(first, until) == following
            assert recurrence.newest(first, until, 0) == following
            for count in (1, 2, 5, 100, 1000):
                assert recurrence.newest(first, until, count) == before[-count:][0]
            assert recurrence.pass_over(first, until, 10_000) == (len(before), following)

    def test_some_at_a_time(self, recurrence: Recurrence) -> None:
        first = recurrence.next_after(at("2026-03-01"))
        assert first is not None
        until = next(islice(recurrence.slots(first, at("2100-01-01")), 50, None))
        count, slot = 0, first
        for _ in range(100):
            passed, following = recurrence.pass_over(slot, until, 7)
            assert following is not None
            count, slot = count + passed, following
            if slot == until:
                break
        assert count == 50
