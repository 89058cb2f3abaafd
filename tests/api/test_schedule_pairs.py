"""Of schedules, too, nothing that is given has no effect."""

import httpx

from .conftest import task
from .test_schedules import PATH, made


async def test_what_a_patch_leaves_alone_is_in_nobodys_way(client: httpx.AsyncClient) -> None:
    """A zone waits for the next cron, a window for the next rule of missed runs; to name them in vain is refused."""
    await made(client, cron="@daily", timezone="Asia/Tokyo", every=None, missedWindow="2h")
    path = f"{PATH}/nightly"
    every = (await client.patch(path, json={"every": "5m", "missed": "skip"})).json()
    assert (every["every"], every["cron"], every["missed"]) == (300_000, None, "skip")
    refusal = await client.patch(path, json={"timezone": "Europe/Berlin", "missedWindow": "1h"})
    assert {fault["field"] for fault in refusal.json()["errors"]} == {"timezone", "missedWindow"}
    again = (await client.patch(path, json={"cron": "@hourly", "missed": "once"})).json()
    assert (again["timezone"], again["missedWindow"]) == ("Asia/Tokyo", 7_200_000)


async def test_dates_of_a_schedule_count_in_its_zone(client: httpx.AsyncClient) -> None:
    found = await made(client, cron="@daily", every=None, timezone="Europe/Berlin", startAt="2030-01-31T12:00")
    assert found["startAt"] == 1_896_087_600_000
    patched = (await client.patch(f"{PATH}/nightly", json={"endAt": "2031-01-31T12:00"})).json()
    assert patched["endAt"] - patched["startAt"] == 365 * 86_400_000
    named = (await client.patch(f"{PATH}/nightly", json={"endAt": "2031-01-31T12:00[Asia/Tokyo]"})).json()
    assert patched["endAt"] - named["endAt"] == 8 * 3_600_000


async def test_a_patch_of_a_task_takes_the_place_of_what_it_excludes(client: httpx.AsyncClient) -> None:
    await made(client, task=task(retry=3, retryExponential=False))
    patch = {"task": {"config": {"retryBackoff": "exponential"}}}
    config = (await client.patch(f"{PATH}/nightly", json=patch)).json()["task"]["config"]
    assert (config["retryBackoff"], config["retryExponential"]) == ("exponential", True)
