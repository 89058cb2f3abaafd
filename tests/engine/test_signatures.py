"""What the engine signs with: the owner's secrets as they are now, or were a few seconds ago."""

import pytest

from tasks_server.domain.errors import Unavailable
from tasks_server.domain.request import TaskConfig
from tasks_server.domain.signing import Signing, rotated
from tasks_server.domain.task import State
from tasks_server.engine.calls import Call
from tasks_server.engine.signatures import REMEMBERED_SECONDS

from ..store.world import secret
from .scripted import DOWN
from .shop import Shop

REMEMBERED_MS = int(REMEMBERED_SECONDS * 1_000) + 1


async def sent(shop: Shop, config: TaskConfig | None = None) -> Call:
    """The call of a new task."""
    await shop.submit(config)
    return await again(shop)


async def again(shop: Shop) -> Call:
    """The one call that is in flight after a look."""
    [token] = await shop.look()
    return shop.caller.sent[token]


async def ended(shop: Shop, call: Call, *outcome: object) -> None:
    shop.caller.end(call.token, *outcome)  # type: ignore[arg-type]  # the fields of an outcome
    await shop.settle()


async def rotate(shop: Shop, overlap_ms: int) -> None:
    new = secret(99, created_at=shop.clock.now())

    def decide(before: Signing) -> Signing:
        return Signing(before.enabled, tuple(rotated(before.secrets, new, shop.clock.now() + overlap_ms)))

    await shop.store.change_signing(shop.owner.id, decide)


async def test_the_id_of_the_message_stays_over_attempts(shop: Shop) -> None:
    first = await sent(shop, TaskConfig(retry=1, retry_interval=1_000))
    await ended(shop, first, DOWN)
    shop.clock.advance(1_000)
    second = await again(shop)
    assert dict(second.headers)["X-Tasks-Attempt"] == "2"
    assert second.message == first.message == dict(first.headers)["X-Tasks-Queue-Id"]
    assert second.start_at >= first.start_at + 1_000
    assert second.signing == (secret(1).key,)


async def test_a_repeat_is_a_message_of_its_own(shop: Shop) -> None:
    first = await sent(shop, TaskConfig(repeat=1, repeat_interval=1_000))
    await ended(shop, first)
    shop.clock.advance(1_000)
    assert (await again(shop)).message == f"{first.message}-1"


async def test_a_rotation_takes_effect_and_the_old_secret_ends_after_the_overlap(shop: Shop) -> None:
    await ended(shop, await sent(shop))
    await rotate(shop, 60_000)
    shop.clock.advance(REMEMBERED_MS)
    call = await sent(shop)
    assert call.signing == (secret(99).key, secret(1).key)
    await ended(shop, call)
    shop.clock.advance(60_000 - REMEMBERED_MS - 1)
    call = await sent(shop)
    assert call.signing == (secret(99).key, secret(1).key)
    await ended(shop, call)
    shop.clock.advance(1)  # remembered from the moment before, and not used all the same
    assert (await sent(shop)).signing == (secret(99).key,)


async def test_what_is_switched_off_is_not_signed(shop: Shop) -> None:
    await shop.store.change_signing(shop.owner.id, lambda before: Signing(False, before.secrets))
    assert (await sent(shop)).signing == ()


async def test_an_owner_is_asked_about_once_in_a_while(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    real = shop.store.signing_keys

    async def count(owners: list[int]) -> dict[int, Signing]:
        asked.append(owners)
        return await real(owners)

    monkeypatch.setattr(shop.store, "signing_keys", count)
    for _ in range(3):
        await ended(shop, await sent(shop))
    assert len(asked) == 1


async def test_without_word_from_the_store_what_is_known_serves_on_and_the_rest_is_given_back(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_: list[int]) -> dict[int, Signing]:
        raise Unavailable("gone")

    real = shop.store.signing_keys
    monkeypatch.setattr(shop.store, "signing_keys", fail)
    task_id = await shop.submit()
    with pytest.raises(Unavailable):
        await shop.look()
    await shop.settle()
    task = await shop.task(task_id)
    assert (task.state, task.failures) == (State.AVAILABLE, 0)
    assert not shop.caller.sent
    monkeypatch.setattr(shop.store, "signing_keys", real)
    await ended(shop, await again(shop))
    monkeypatch.setattr(shop.store, "signing_keys", fail)
    shop.clock.advance(REMEMBERED_MS)
    assert (await sent(shop)).signing == (secret(1).key,)
    assert any(b"signing secrets" in line for line in shop.lines)
