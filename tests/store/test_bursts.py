"""A burst of one owner's tasks that fall due at one instant: others do not wait behind it."""

from .world import World, up_to


async def test_a_burst_of_one_owner_is_no_wait_for_another(world: World) -> None:
    crowd, single = await world.owner(), await world.owner()
    for _ in range(3):
        await world.submit_many(crowd, 1_000, delay=60_000)
    await world.submit(single, delay=60_001)
    world.clock.advance(60_001)
    looked = await world.look(up_to(10))
    assert looked.more
    assert len({claim.owner for claim in looked.claims}) == 2


async def test_in_a_burst_everything_is_promoted_once(world: World) -> None:
    crowd, other = await world.owner(), await world.owner()
    submitted = set(await world.submit_many(crowd, 1_000, delay=60_000))
    submitted |= set(await world.submit_many(other, 700, delay=60_000))
    world.clock.advance(60_000)
    claimed: list[str] = []
    while claims := await world.claim(up_to(1_000)):
        claimed += [claim.id for claim in claims]
    assert len(claimed) == len(submitted)
    assert set(claimed) == submitted
    await world.check_counters()
