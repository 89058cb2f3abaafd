"""Dates and durations as people write them."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks_server.domain.cron import cron
from tasks_server.domain.dates import DATE_MAX_MS, instant
from tasks_server.domain.durations import duration_ms

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2030-01-31T12:00:00Z", datetime(2030, 1, 31, 12, tzinfo=UTC)),
        ("2030-01-31T12:00:00.123456+01:00", datetime(2030, 1, 31, 11, 0, 0, 123_000, tzinfo=UTC)),
        ("20300131T120000Z", datetime(2030, 1, 31, 12, tzinfo=UTC)),
        ("2030-01-31", datetime(2030, 1, 31, tzinfo=UTC)),
        ("Thu, 31 Jan 2030 12:00:00 GMT", datetime(2030, 1, 31, 12, tzinfo=UTC)),
        ("31 January 2030 noon".replace(" noon", " 12:00"), datetime(2030, 1, 31, 12, tzinfo=UTC)),
        ("Dec 12 2012 12:12:12 AM +07:00", datetime(2012, 12, 11, 17, 12, 12, tzinfo=UTC)),
        ("Dec 12 2012 12:12:12 AM +0700", datetime(2012, 12, 11, 17, 12, 12, tzinfo=UTC)),
        ("13/4/2030", datetime(2030, 4, 13, tzinfo=UTC)),
    ],
)
def test_text_forms(text: str, expected: datetime) -> None:
    assert instant(text) == (expected - EPOCH) // timedelta(milliseconds=1)


def test_numbers_are_milliseconds_and_lose_their_fraction() -> None:
    assert (instant(1_700_000_000_000), instant(1.9)) == (1_700_000_000_000, 1)


@pytest.mark.parametrize("text", ["2030-07-01T12:00:00", "Jul 1 2030 12:00"])
def test_without_a_zone_it_counts_in_the_given_one(text: str) -> None:
    summer_in_berlin = datetime(2030, 7, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    assert instant(text, ZoneInfo("Europe/Berlin")) == instant(summer_in_berlin.isoformat())


BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2026-12-01T09:00:00[Europe/Berlin]", "2026-12-01T09:00+01:00"),
        ("2026-07-01T09:00[Europe/Berlin]", "2026-07-01T09:00+02:00"),
        ("2026-12-01T09:00+01:00[Europe/Berlin]", "2026-12-01T09:00+01:00"),
        ("2026-12-01T09:00Z[Europe/Berlin]", "2026-12-01T09:00+00:00"),
        ("2026-12-01T09:00[!America/New_York][u-ca=hebrew]", "2026-12-01T09:00-05:00"),
        ("2026-12-01T09:00[Asia/Kolkata][!u-ca=gregory]", "2026-12-01T09:00+05:30"),
        ("2026-12-01T09:00[+05:30]", "2026-12-01T09:00+05:30"),
        ("Dec 1 2026 9:00 AM [UTC]", "2026-12-01T09:00+00:00"),
    ],
)
def test_a_zone_in_brackets(text: str, meant: str) -> None:
    """RFC 9557; the zone that is given beside it makes no difference."""
    assert instant(text, BERLIN) == instant(text, ZoneInfo("Asia/Tokyo")) == instant(meant)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2026-03-29T01:59:59", "2026-03-29T01:59:59+01:00"),
        ("2026-03-29T02:00", "2026-03-29T03:00+02:00"),
        ("2026-03-29T02:30:15.5", "2026-03-29T03:00+02:00"),
        ("2026-03-29T03:00:00.25", "2026-03-29T03:00:00.25+02:00"),
        ("2026-10-25T02:30:15.5", "2026-10-25T02:30:15.5+02:00"),
        ("2026-10-25T03:00", "2026-10-25T03:00+01:00"),
    ],
)
def test_clock_changes_are_as_for_schedules(text: str, meant: str) -> None:
    """What does not exist is the next valid minute; what occurs twice is the first."""
    assert instant(text, BERLIN) == instant(f"{text}[Europe/Berlin]") == instant(meant)


def test_a_date_is_when_a_schedule_of_that_time_fires() -> None:
    for day, expression in (("2026-03-29", "30 2 29 3 *"), ("2026-10-25", "30 2 25 10 *")):
        assert instant(f"{day}T02:30[Europe/Berlin]") == cron(expression, "Europe/Berlin").after(instant(f"{day}[UTC]"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("2026-12-01T09:00+02:00[Europe/Berlin]", r"an offset that is not its zone's: there it is 2026-12-01T08:00"),
        ("2026-12-01T09:00[CEST]", "did you mean Europe/Berlin"),
        ("2026-12-01T09:00[Berlin]", "did you mean Europe/Berlin"),
        ("2026-12-01T09:00[Mars/Olympus]", "names Mars/Olympus in brackets, which is not a time zone"),
        ("2026-12-01T09:00[!u-ca=hebrew]", "asks for u-ca=hebrew"),
        ("2026-12-01T09:00[]", "one time zone in brackets"),
        ("2026-12-01T09:00[Europe/Berlin][Asia/Tokyo]", "one time zone in brackets"),
        ("12[Europe/Berlin]", "ambiguous"),
        ("[Europe/Berlin]", "not a date"),
        ("2026-12-01[Europe/Berlin", "not a date"),
        ("2030-01-31 12:00 CEST", r"give its offset, such as \+07:00, or a zone: \[Europe/Berlin\]"),
        ("0001-01-01[Asia/Tokyo]", "calendar"),
    ],
)
def test_zones_in_brackets_that_are_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        instant(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1700000000000", "ambiguous"),
        ("2030", "ambiguous"),
        ("20300131", "ambiguous"),
        ("12 12 2012", "ambiguous"),
        ("3/4/2030", "ambiguous"),
        ("5pm", "ambiguous"),
        ("Monday", "ambiguous"),
        ("Jan 2030", "ambiguous"),
        ("2030-01-31 12:00 EST", "time zone EST"),
        ("2030-02-30", "not a date"),
        ("soon", "not a date"),
        ("", "not a date"),
        ("x" * 65, "not a date"),
    ],
)
def test_what_could_mean_two_things_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        instant(text)


@given(st.text(max_size=64) | st.from_regex(r"2026-0[1-9]-1[0-9]T0[0-9]:00(\[!?[A-Za-z/=_+:0-9-]{0,20}\]){1,2}"))
def test_any_text_is_an_instant_or_a_value_error(text: str) -> None:
    with suppress(ValueError):
        assert isinstance(instant(text), int)


@given(st.integers(0, DATE_MAX_MS - 24 * 3_600_000), st.integers(-14 * 60, 14 * 60))
def test_iso_text_in_any_zone_is_the_same_instant(at: int, offset_minutes: int) -> None:
    moment = (EPOCH + timedelta(milliseconds=at)).astimezone(timezone(timedelta(minutes=offset_minutes)))
    assert instant(moment.isoformat(timespec="milliseconds")) == at


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, 0),
        (7.9, 7),
        ("250ms", 250),
        ("90s", 90_000),
        ("1.5h", 5_400_000),
        ("3d5h", 277_200_000),
        (" 1w 2d ", 777_600_000),
        ("1M", 60_000),
        ("15 min", 900_000),
        ("2 hours 30 Minutes 1 sec", 9_001_000),
        ("1 day", 86_400_000),
        ("5 milliseconds", 5),
    ],
)
def test_durations(value: str | float, expected: int) -> None:
    assert duration_ms(value) == expected


@pytest.mark.parametrize(
    "text", ["5", "", " ", "s", "5x", "5 month", "5mi", "5sd", "-5s", "5s!", "5 5s", "1e3s", "٣s", "1" * 16 + "s"]
)
def test_durations_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"duration|ambiguous"):
        duration_ms(text)


@given(st.text(max_size=70))
def test_any_text_is_a_duration_or_a_value_error(text: str) -> None:
    with suppress(ValueError):
        assert duration_ms(text) >= 0
