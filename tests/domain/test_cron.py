"""Cron expressions: what they match, and the rule of daylight saving, held against every change of every zone."""

import contextlib
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks_server.domain.cron import Cron, cron
from tasks_server.domain.zones import zone_of

YEARS = (2020, 2030)


def at(text: str, zone: tzinfo = UTC, fold: int = 0) -> int:
    """The instant of a wall time, in ms."""
    return round(datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).timestamp() * 1_000)


def fires(expression: str, zone: tzinfo, start: int, end: int) -> list[int]:
    """All fire times after `start` and not after `end`."""
    known, found = Cron(expression, zone), []
    following = known.after(start)
    while following is not None and following <= end:
        found.append(following)
        following = known.after(following)
    return found


def utc(expression: str, start: str, count: int) -> list[str]:
    """The first fire times after an instant in UTC."""
    known, found, instant = Cron(expression, UTC), list[str](), at(start)
    for _ in range(count):
        following = known.after(instant)
        assert following is not None
        instant = following
        found.append(datetime.fromtimestamp(instant / 1_000, UTC).strftime("%Y-%m-%d %H:%M:%S"))
    return found


# What matches


def test_five_fields_fire_at_whole_minutes_and_six_begin_with_seconds() -> None:
    assert utc("*/30 9 * * *", "2026-01-01", 3) == ["2026-01-01 09:00:00", "2026-01-01 09:30:00", "2026-01-02 09:00:00"]
    assert utc("*/20 59 23 * * *", "2026-01-01", 4)[1:] == [
        "2026-01-01 23:59:20",
        "2026-01-01 23:59:40",
        "2026-01-02 23:59:00",
    ]


@pytest.mark.parametrize(
    ("expression", "first"),
    [
        ("@yearly", "2027-01-01 00:00:00"),
        ("@Monthly", "2026-05-01 00:00:00"),
        ("@weekly", "2026-04-19 00:00:00"),
        ("@daily", "2026-04-16 00:00:00"),
        ("@hourly", "2026-04-15 13:00:00"),
        ("0 9 * * MON-FRI", "2026-04-16 09:00:00"),
        ("0 9 L * *", "2026-04-30 09:00:00"),
        ("0 9 * * FRI#1", "2026-05-01 09:00:00"),
        ("0 0 29 2 *", "2028-02-29 00:00:00"),
        ("0 0 13 * FRI", "2026-04-17 00:00:00"),  # as in cron: two days that are named are either of them
        ("5 4 * * 7", "2026-04-19 04:05:00"),
    ],
)
def test_names_and_special_days(expression: str, first: str) -> None:
    assert utc(expression, "2026-04-15 12:00:00", 1) == [first]


def test_a_fire_time_comes_after_the_instant_and_never_at_it() -> None:
    known, noon = Cron("0 12 * * *", UTC), at("2026-01-01 12:00")
    assert known.after(noon - 1) == noon
    assert known.after(noon) == noon + 86_400_000


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("* * * *", "takes 5 fields, or 6 with seconds first; these are 4"),
        ("", "these are 0"),
        ("60 * * * *", "has 60 for the minute"),
        ("0 61 * * * *", "has 61 for the minute"),
        ("61 * * * * *", "has 61 for the second"),
        ("* 25 * * *", "has 25 for the hour"),
        ("0 0 31 2 *", "has 31 for the day of the month"),
        ("0 0 * 13 *", "has 13 for the month"),
        ("0 0 * * MOON", "has MOON for the day of the week"),
        ("@reboot", "has a name that is not known"),
        ("*/0 * * * *", "has \\*/0 for the minute"),
    ],
)
def test_what_is_no_expression_is_told_by_its_field(expression: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Cron(expression, UTC)


@given(st.text(alphabet="0123456789*/,-#LWMONTUESJAN @", max_size=40))
def test_odd_expressions_fire_or_are_refused_as_values(text: str) -> None:
    with contextlib.suppress(ValueError):
        following = Cron(text, UTC).after(at("2026-01-01"))
        assert following is None or following > at("2026-01-01")


def test_what_never_comes_never_fires() -> None:
    assert Cron("0 0 30 2 MON#5", UTC).after(at("2026-01-01")) is not None  # a fifth Monday: in leap years
    assert Cron("0 0 1 1 *", UTC).after(at("9999-06-01")) is None


def test_a_zone_is_known_by_its_name() -> None:
    assert zone_of("UTC") is UTC
    with pytest.raises(ValueError, match="did you mean Europe/Berlin"):
        zone_of("europe/berlin")
    for name in ("Nowhere/Land", "../UTC", "localtime", ""):
        with pytest.raises(ValueError, match="not a time zone"):
            zone_of(name)
    assert cron("@daily", "Asia/Tokyo") is cron("@daily", "Asia/Tokyo")


# Daylight saving: some examples


BERLIN = ZoneInfo("Europe/Berlin")


def test_a_time_that_does_not_exist_runs_at_the_next_valid_minute_once() -> None:
    start, end = at("2025-03-29 12:00", BERLIN), at("2025-03-30 12:00", BERLIN)
    three = [at("2025-03-30 03:00", BERLIN)]
    assert fires("30 2 * * *", BERLIN, start, end) == three
    assert fires("15 30 2 * * *", BERLIN, start, end) == three
    assert fires("0,30 2,3 * * *", BERLIN, start, end) == [*three, at("2025-03-30 03:30", BERLIN)]


def test_a_time_that_occurs_twice_runs_once() -> None:
    start, end = at("2025-10-25 12:00", BERLIN), at("2025-10-26 12:00", BERLIN)
    assert fires("30 2 * * *", BERLIN, start, end) == [at("2025-10-26 02:30", BERLIN, fold=0)]
    second_pass = at("2025-10-26 02:10", BERLIN, fold=1)
    assert fires("30 2 * * *", BERLIN, second_pass, end) == []


def test_an_interval_goes_on_through_both_passes() -> None:
    start, end = at("2025-10-26 01:50", BERLIN), at("2025-10-26 03:00", BERLIN)
    assert fires("*/30 * * * *", BERLIN, start, end) == [start + 600_000 + step * 1_800_000 for step in range(5)]
    start, end = at("2025-03-30 01:15", BERLIN), at("2025-03-30 03:30", BERLIN)
    assert fires("*/30 * * * *", BERLIN, start, end) == [start + 900_000 + step * 1_800_000 for step in range(3)]


def test_a_day_that_was_left_out_runs_once() -> None:
    apia = ZoneInfo("Pacific/Apia")  # 2011-12-30 did not exist there
    start, end = at("2011-12-29 12:00", apia), at("2011-12-31 12:00", apia)
    assert fires("0 6 * * *", apia, start, end) == [at("2011-12-31 00:00", apia), at("2011-12-31 06:00", apia)]


def test_a_change_of_half_an_hour() -> None:
    island = ZoneInfo("Australia/Lord_Howe")
    start, end = at("2026-04-05 00:55", island), at("2026-04-05 02:30", island)
    assert fires("*/10 1-2 * * *", island, start, end) == [start + 300_000 + step * 600_000 for step in range(13)]


# Daylight saving: every change of every zone in ten years


def offset(zone: tzinfo, second: int) -> int:
    return round(datetime.fromtimestamp(second, zone).utcoffset() / timedelta(seconds=1))  # type: ignore[operator]  # every zone has one


def changes(zone: tzinfo) -> tuple[tuple[int, int, int], ...]:
    """Each change of the clock: its second, and the offsets before and after."""
    found, first, last = [], *(round(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in YEARS)
    span, before = 5 * 86_400, offset(zone, first)
    for start in range(first, last, span):
        after = offset(zone, start + span)
        if before != after:
            low, high = start, start + span
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if offset(zone, middle) == before else (low, middle)
            found.append((high, before, after))
            before = after
    return tuple(found)


@cache
def zones_by_change() -> dict[tuple[int, int, int], list[str]]:
    """Every change that there is, with the zones that have it."""
    known: dict[tuple[int, int, int], list[str]] = {}
    for name in sorted(available_timezones()):
        for change in changes(ZoneInfo(name)):
            known.setdefault(change, []).append(name)
    return known


def instants(zone: tzinfo, wall: int, change: tuple[int, int, int]) -> list[int]:
    """When the clock shows a wall time near a change, by trying both offsets."""
    _, before, after = change
    return sorted({wall - shift for shift in (before, after) if offset(zone, wall - shift) == shift})


def expected_times(zone: tzinfo, seconds: list[int], change: tuple[int, int, int], start: int, end: int) -> list[int]:
    """When times of day (in seconds) run around a change, by the rule and nothing else."""
    border, _, after = change
    found = set()
    for day in range((start - 86_400) // 86_400, (end + 2 * 86_400) // 86_400):
        for second in seconds:
            shown = instants(zone, day * 86_400 + second, change)
            found.add(shown[0] if shown else border + -(border + after) % 60)
    return sorted(instant * 1_000 for instant in found if start < instant <= end)


def test_every_change_is_looked_at() -> None:
    known = zones_by_change()
    names = {name for zones in known.values() for name in zones}
    assert {"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "Asia/Tehran"} <= names
    assert len(known) > 300


def test_times_of_day_keep_the_rule_at_every_change() -> None:
    for change, names in zones_by_change().items():
        zone = ZoneInfo(names[0])
        border, before, after = change
        start, end = border - 30 * 3_600, border + 30 * 3_600
        low, high = sorted((border + before, border + after))  # the wall times that are left out, or come twice
        for wall in (low - 60, low, (low + high) // 120 * 60, high - 60, high):
            minute, hour = wall // 60 % 60, wall // 3_600 % 24
            wanted = expected_times(zone, [hour * 3_600 + minute * 60], change, start, end)
            for expression in (f"{minute} {hour} * * *", f"0 {minute} {hour} * * *"):
                assert fires(expression, zone, start * 1_000, end * 1_000) == wanted, (names[0], expression, border)


def test_intervals_follow_the_clock_at_every_change() -> None:
    matches = {
        "*/20 * * * *": lambda wall: wall // 60 % 20 == 0,
        "0 */2 * * *": lambda wall: wall // 60 % 120 == 0,
        "*/15 1-3 * * *": lambda wall: wall // 60 % 15 == 0 and wall // 3_600 % 24 in (1, 2, 3),
    }
    for change, names in zones_by_change().items():
        zone, border = ZoneInfo(names[0]), change[0]
        start, end = border - 3 * 3_600, border + 3 * 3_600
        shown = {second: second + offset(zone, second) for second in range(start, end + 1) if second % 60 == 0}
        for expression, match in matches.items():
            wanted = [second * 1_000 for second, wall in shown.items() if second > start and match(wall)]
            assert fires(expression, zone, start * 1_000, end * 1_000) == wanted, (names[0], expression, border)


def test_zones_that_change_alike_fire_alike() -> None:
    """So that one zone stands for all that have the same change."""
    for change, names in zones_by_change().items():
        border = change[0] * 1_000
        for name in names[1:]:
            known = cron("30 2 * * *", name).after(border - 20_000_000)
            assert known == cron("30 2 * * *", names[0]).after(border - 20_000_000), (name, names[0])
