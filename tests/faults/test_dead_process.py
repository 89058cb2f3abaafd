"""A process that is killed on this machine: what it had in work is given back at the next roll call, not later."""

import subprocess
import sys

import pytest

from tasks_server.domain.owner import Owner
from tasks_server.domain.task import State
from tests.store.world import World

TAKES_ALL = """
import asyncio, sys
from tasks_server.clock import ManualClock
from tasks_server.store.ports import Look, Quota
from tasks_server.store.postgres.store import PostgresStore
from tasks_server.store.sealing import Sealer

async def main():
    clock = ManualClock()
    store = PostgresStore(sys.argv[1], Sealer(bytes(range(32))), clock, role="engine")
    await store.open()
    look = Look(clock.now(), clock.now(), clock.now() + 30_000)
    claimed = await store.claim(look, lambda groups, _: [Quota(group, 100) for group in groups])
    print(len(claimed.claims), flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.process
async def test_the_tasks_of_a_killed_process_are_given_back_at_once(world: World, owner: Owner, url: str) -> None:
    tasks = await world.submit_many(owner, 5)
    assert await world.rescue(10) == 0
    process = subprocess.Popen([sys.executable, "-c", TAKES_ALL, url], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "5\n"
        assert await world.rescue(10) == 0  # it lives
    finally:
        process.kill()
        process.communicate()
    assert await world.rescue(10) == 5  # no time has passed since
    for task in tasks:
        assert await world.state(task) is State.AVAILABLE
    assert {claim.attempt for claim in await world.claim()} == {2}
    await world.check_counters()
