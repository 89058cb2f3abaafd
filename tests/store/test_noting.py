"""What handlers note while they run: kept under the lease, told with the attempt, gone with the task."""

from tasks_server.domain import lifecycle
from tasks_server.domain.attempt import OutcomeKind
from tasks_server.domain.notes import Line, Notes
from tasks_server.domain.owner import Owner
from tasks_server.store.noting import Note
from tasks_server.store.ports import Claim

from .world import SUCCESS, World

FIRST = Notes(1_000, 0.25, "a quarter", (Line(1_000, "began"),))
SECOND = Notes(2_000, 0.5, "half", (Line(1_000, "began"), Line(2_000, "went on")), dropped=3)


async def note(world: World, claim: Claim, notes: Notes) -> None:
    await world.store.note([Note(claim.ref, claim.lease, claim.id, claim.attempt, notes)])


async def stored(world: World) -> int:
    return len(await world.query("SELECT task FROM note"))


async def test_notes_of_the_attempt_that_runs(world: World, owner: Owner) -> None:
    task = await world.submit(owner)
    claim = await world.claim_one()
    assert await world.store.notes(owner.id, task.id) == {}
    await note(world, claim, FIRST)
    await note(world, claim, SECOND)
    assert await world.store.notes(owner.id, task.id) == {1: SECOND}
    assert await world.store.notes(None, task.id) == {1: SECOND}
    assert await world.store.notes((await world.owner()).id, task.id) == {}


async def test_the_end_of_the_attempt_has_them(world: World, owner: Owner) -> None:
    task = await world.submit(owner)
    claim = await world.claim_one()
    await note(world, claim, FIRST)
    report = world.report(claim, SUCCESS)
    assert report.attempt is not None
    report.attempt.notes = SECOND
    assert await world.store.settle([report]) == set()
    assert [attempt.notes for attempt in await world.store.attempts(None, task.id)] == [SECOND]
    assert await stored(world) == 0
    await note(world, claim, FIRST)  # what comes too late
    assert await stored(world) == 0


async def test_a_dropped_attempt_tells_what_it_noted(world: World, owner: Owner) -> None:
    task = await world.submit(owner)
    await note(world, await world.claim_one(), FIRST)
    await world.steer(task, lifecycle.revoke)
    (dropped,) = await world.store.attempts(None, task.id)
    assert (dropped.outcome, dropped.notes) == (OutcomeKind.ABORTED, FIRST)


async def test_a_lost_attempt_tells_what_it_noted(world: World, owner: Owner) -> None:
    task = await world.submit(owner)
    claim = await world.claim_one()
    await note(world, claim, FIRST)
    await world.leases_end()
    again = await world.claim_one()
    assert again.attempt == 2
    await note(world, claim, SECOND)  # its lease is over
    await note(world, again, SECOND)
    (lost,) = await world.store.newest_attempts(None, task.id)
    assert (lost.outcome, lost.notes) == (OutcomeKind.LOST, FIRST)


async def test_notes_go_with_their_task(world: World, owner: Owner) -> None:
    task = await world.submit(owner)
    await note(world, await world.claim_one(), FIRST)
    assert await stored(world) == 1
    assert await world.store.delete(None, task.id)
    assert await stored(world) == 0
