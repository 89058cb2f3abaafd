"""What is done by hand is recorded in the transaction that does it, and nothing that is refused."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from msgspec.structs import replace

from tasks_server.domain import lifecycle
from tasks_server.domain.audit import Act, Actor, Kind
from tasks_server.domain.errors import Refused, StoreError
from tasks_server.domain.owner import Owner, OwnerKey
from tasks_server.domain.signing import Signing
from tasks_server.domain.task import Task
from tasks_server.store import auditing
from tasks_server.store.acting import DOING
from tasks_server.store.auditing import ActQuery
from tasks_server.store.ports import Change
from tasks_server.store.scheduling import ScheduleRefusal

from .lanes import set_lane
from .schedules import Calendar
from .world import World

BY_OWNER = Actor("owner", "api", "key-1")


@contextmanager
def doing(world: World, action: str = "pause", **fields: Any) -> Iterator[None]:
    token = DOING.set(Act(world.now, fields.pop("actor", BY_OWNER), fields.pop("kind", "task"), action, **fields))
    try:
        yield
    finally:
        DOING.reset(token)


async def acts(world: World, **asked: Any) -> list[Act]:
    page = await world.store.acts(ActQuery(asked.pop("owner", None), **asked))
    return [entry.act for entry in page.entries]


def paused(world: World) -> Any:
    return lambda before, _: Change(lifecycle.pause(before, world.now))


async def test_what_is_done_is_recorded_with_it(world: World, owner: Owner) -> None:
    task = await world.submit(owner)
    with doing(world, subject=task.id, detail="by hand"):
        await world.store.change(None, task.id, paused(world))
    page = await world.store.acts(ActQuery(None))
    (entry,) = page.entries
    assert entry.act == Act(world.now, BY_OWNER, "task", "pause", owner.id, task.id, "by hand")
    assert (entry.owner_name, page.next) == (owner.name, None)


async def test_what_nobody_does_by_hand_is_not_recorded(world: World, owner: Owner) -> None:
    task = await world.submit(owner)
    await world.store.change(None, task.id, paused(world))
    with doing(world):
        await world.submit(owner)
        await world.claim()
    assert await acts(world) == []


async def test_what_is_refused_or_not_found_is_not_recorded(world: World, owner: Owner) -> None:
    task = await world.submit(owner)

    def refuse(before: Task, _: bytes) -> Change:
        raise Refused("no")

    with doing(world):
        with pytest.raises(Refused):
            await world.store.change(None, task.id, refuse)
        assert await world.store.change(None, "0" * 24, paused(world)) is None
        assert await world.store.delete(None, "0" * 24) is False
        assert await world.store.delete_lane(owner.id, "never-used", world.now) is False
        assert not await world.store.add_key(owner.id, OwnerKey("k", world.now), b"digest", 1)
        assert await world.store.remove_key(owner.id, "key-1") is False
        assert await world.store.delete_owner(owner.id) is False
    assert await acts(world) == []


async def test_a_change_that_cannot_be_recorded_is_not_made(world: World, owner: Owner) -> None:
    task = await world.submit(owner)
    nothing: Any = None  # which no column takes
    with doing(world, action=nothing), pytest.raises(StoreError):
        await world.store.change(None, task.id, paused(world))
    assert (await world.read(task)).state == "available"


async def test_the_newest_come_first_page_after_page_by_owner_or_of_all(world: World, owner: Owner) -> None:
    other = await world.owner()
    for number in range(5):
        world.clock.advance(10)
        whose = owner if number % 2 == 0 else other
        await world.store.record(Act(world.now, BY_OWNER, "lane", "pause", whose.id, f"lane-{number}"))
    first = await world.store.acts(ActQuery(None, limit=3))
    assert [entry.act.subject for entry in first.entries] == ["lane-4", "lane-3", "lane-2"]
    assert first.next is not None
    assert [act.subject for act in await acts(world, before=first.next)] == ["lane-1", "lane-0"]
    assert [act.subject for act in await acts(world, owner=owner.id)] == ["lane-4", "lane-2", "lane-0"]


async def test_entries_are_found_by_what_was_done_by_whom_and_when(world: World, owner: Owner) -> None:
    began = world.now
    done: list[tuple[Actor, Kind, str, str]] = [
        (BY_OWNER, "task", "pause", "a"),
        (Actor("operator", "cli", "root"), "task", "revoke", "b"),
        (Actor("operator", "api", "12345678"), "owner", "edit", "c"),
    ]
    for actor, kind, action, subject in done:
        world.clock.advance(10)
        await world.store.record(Act(world.now, actor, kind, action, owner.id, subject))
    for asked, found in (
        ({"by": "operator"}, "cb"),
        ({"kinds": frozenset({"task"})}, "ba"),
        ({"actions": frozenset({"edit", "pause"})}, "ca"),
        ({"subject": "b"}, "b"),
        ({"who": "root"}, "b"),
        ({"since": began + 20}, "cb"),
        ({"until": began + 20}, "a"),
        ({"until": began}, ""),
        ({"since": began + 20, "until": began + 30}, "b"),
    ):
        assert "".join(act.subject or "" for act in await acts(world, **asked)) == found, asked


async def test_a_page_is_a_bounded_piece_of_work(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("sqlite", "postgres"):
        monkeypatch.setattr(f"tasks_server.store.{module}.acting.LOOKED_MAX", 2)
    monkeypatch.setattr("tasks_server.store.acts.LOOKED_MAX", 2)
    assert auditing.LOOKED_MAX == 1_000
    for number in range(5):
        await world.store.record(Act(world.now, BY_OWNER, "task", "pause", None, str(number)))
    looked, before, found = 0, auditing.NEWEST, []
    while True:
        page = await world.store.acts(ActQuery(None, subject="0", before=before))
        looked, found = looked + 1, found + page.entries
        if page.next is None:
            break
        before = page.next
    assert (looked, len(found)) == (3, 1)


async def test_old_entries_go_the_oldest_first(world: World) -> None:
    for number in range(4):
        await world.store.record(Act(world.now + number, BY_OWNER, "task", "pause", None, str(number)))
    assert await world.store.prune_acts(world.now + 3, 2) == 2
    assert [act.subject for act in await acts(world)] == ["3", "2"]
    assert await world.store.prune_acts(world.now + 3, 2) == 1
    assert await world.store.prune_acts(world.now + 3, 2) == 0


async def test_the_record_outlives_its_owner(world: World, owner: Owner) -> None:
    with doing(world, "delete", kind="owner", owner=owner.id, subject=owner.name):
        assert await world.store.delete_owner(owner.id)
    await world.store.prune(world.now + 1, 100)
    (entry,) = (await world.store.acts(ActQuery(None))).entries
    assert (entry.act.subject, entry.owner_name) == (owner.name, None)


async def test_each_kind_of_change_is_recorded_with_it(world: World, owner: Owner) -> None:
    calendar, store, now = Calendar(world), world.store, world.now
    task = await world.submit(owner)
    with doing(world, "register", kind="owner", subject="new"):
        assert await world.owner("another-owner")
    with doing(world, "edit", kind="owner", owner=owner.id):
        assert await world.set_limit(owner.id, 5_000)
    with doing(world, "add", kind="key", owner=owner.id):
        assert await store.add_key(owner.id, OwnerKey("key-new", now), b"d" * 32, 2)
    with doing(world, "remove", kind="key", owner=owner.id):
        assert await store.remove_key(owner.id, "key-new")
    with doing(world, "edit", kind="signing", owner=owner.id):
        assert await store.change_signing(owner.id, lambda before: Signing(False, before.secrets))
    with doing(world, "create", kind="schedule", owner=owner.id):
        made = await calendar.make(owner, "nightly")
    with doing(world, "edit", kind="schedule", owner=owner.id):
        await calendar.make(owner, "weekly")
        taken = await calendar.change(owner.id, "weekly", lambda found: replace(found, name="nightly"))
        assert taken is ScheduleRefusal.NAME_TAKEN
    with doing(world, "delete", kind="schedule", owner=owner.id):
        assert await store.delete_schedule(owner.id, made.id)
    with doing(world, "put", kind="lane", owner=owner.id):
        assert await set_lane(world, owner, "mail", rate=5.0)
    with doing(world, "delete", kind="lane", owner=owner.id):
        assert await store.delete_lane(owner.id, "mail", now) is True
    with doing(world, "delete", subject=task.id):
        assert await store.delete(owner.id, task.id)
    told = [(act.kind, act.action) for act in reversed(await acts(world, limit=100))]
    assert told == [
        ("owner", "register"), ("owner", "edit"), ("key", "add"), ("key", "remove"), ("signing", "edit"),
        ("schedule", "create"), ("schedule", "edit"), ("schedule", "delete"), ("lane", "put"), ("lane", "delete"),
        ("task", "delete"),
    ]  # fmt: skip
