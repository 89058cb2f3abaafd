"""Which connections are closed: pure decisions over what the kernel says."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks_server.connections.kernel import Connection, Peer
from tasks_server.connections.rules import (
    RATE_MIN_BYTES,
    Places,
    Stalled,
    idle_too_long,
    places,
    too_many,
)

SILENCE_MS = 60_000
NOBODY: set[tuple[str, str] | None] = set()


def connection(number: int, net: int = 1, idle_ms: int = 10_000, **of_it: int) -> Connection:
    peer = Peer(f"10.0.0.{net}", str(number), bytes([10, 0, 0, net]))
    told = {"unsent": 0, "taken": 0, "brought": 100} | of_it
    return Connection(fd=number, inode=number + 1_000, peer=peer, idle_ms=idle_ms, **told)


def numbers(connections: list[Connection]) -> list[int]:
    return sorted(one.fd for one in connections)


# Idle ones


def test_the_idle_go_unless_a_request_of_theirs_is_at_work() -> None:
    all_of_them = [
        connection(1, idle_ms=SILENCE_MS + 5_000),
        connection(2, idle_ms=SILENCE_MS - 1),
        connection(3, 2, 99_999),
    ]
    assert numbers(idle_too_long(all_of_them, NOBODY, SILENCE_MS)) == [1, 3]
    assert numbers(idle_too_long(all_of_them, {("10.0.0.2", "3"), None}, SILENCE_MS)) == [1]
    assert numbers(idle_too_long(all_of_them, {("10.0.0.1", "3")}, SILENCE_MS)) == [1, 3], "that is somebody else"


def test_the_server_has_a_moment_to_close_them_itself() -> None:
    assert idle_too_long([connection(1, idle_ms=SILENCE_MS)], NOBODY, SILENCE_MS) == []


def test_an_answer_that_is_not_taken_is_given_up() -> None:
    stalled = Stalled(SILENCE_MS)
    assert stalled.among([connection(1, unsent=5)], 0) == []
    assert stalled.among([connection(1, unsent=5)], SILENCE_MS - 1) == []
    assert numbers(stalled.among([connection(1, unsent=5)], SILENCE_MS)) == [1]


def test_who_takes_his_answer_a_byte_at_a_time_is_given_up_too() -> None:
    stalled, given_up = Stalled(SILENCE_MS), []
    for second in range(0, 70, 5):
        given_up = stalled.among([connection(1, idle_ms=0, unsent=5, taken=second)], second * 1_000)
        if given_up:
            break
    assert numbers(given_up) == [1]


def test_who_takes_answers_at_some_rate_may_take_long() -> None:
    stalled = Stalled(SILENCE_MS)
    for second in range(0, 600, 5):
        assert stalled.among([connection(1, unsent=5, taken=second * RATE_MIN_BYTES)], second * 1_000) == []


def test_who_has_taken_all_begins_anew() -> None:
    stalled = Stalled(SILENCE_MS)
    for second in range(0, 600, 30):
        for unsent in (5, 0):
            assert stalled.among([connection(1, unsent=unsent)], second * 1_000) == []


# Too many


BOUNDS = Places(connections=100, per_address=50, accepted=125)


def test_nobody_goes_while_there_is_room() -> None:
    found = [connection(number, net=number % 2) for number in range(100)]
    assert too_many(found, NOBODY, BOUNDS) == []


def test_one_address_keeps_no_more_than_it_may() -> None:
    found = [connection(number, idle_ms=number * 2_000) for number in range(1, 61)]
    assert numbers(too_many(found, NOBODY, BOUNDS)) == list(range(51, 61)), "the idlest go"


def test_who_has_the_most_makes_room_for_all() -> None:
    found = [connection(number, net=1) for number in range(50)]
    found += [connection(number, net=2) for number in range(50, 100)]
    found += [connection(number, net=3) for number in range(100, 110)]
    gone = Counter(one.peer.address for one in too_many(found, NOBODY, BOUNDS))
    assert gone == {"10.0.0.1": 5, "10.0.0.2": 5}


def test_the_silent_go_before_the_idle_but_not_who_has_just_come() -> None:
    found = [connection(number) for number in range(50)]
    found += [connection(100, idle_ms=1_500, brought=0), connection(101, idle_ms=0, brought=0)]
    assert 100 in numbers(too_many(found, NOBODY, BOUNDS))
    assert 101 not in numbers(too_many(found, NOBODY, BOUNDS))


def test_nobody_goes_whose_request_is_at_work() -> None:
    found = [connection(number, idle_ms=1_000 + number) for number in range(60)]
    at_work = {(one.peer.address, one.peer.port) for one in found[20:]}
    assert numbers(too_many(found, at_work, BOUNDS)) == list(range(10, 20))


def test_many_addresses_with_one_connection_each_give_way_too() -> None:
    found = [connection(number, net=number, idle_ms=number * 1_000) for number in range(1, 151)]
    assert numbers(too_many(found, NOBODY, BOUNDS)) == list(range(101, 151))


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 5_000), st.booleans()), max_size=300))
def test_what_stays_fits_unless_it_is_at_work(drawn: list[tuple[int, int, bool]]) -> None:
    found = [connection(number, net, idle) for number, (net, idle, _) in enumerate(drawn)]
    at_work = {(f"10.0.0.{net}", str(number)) for number, (net, _, works) in enumerate(drawn) if works}
    closed = too_many(found, at_work, BOUNDS)
    gone = set(numbers(closed))
    assert len(gone) == len(closed)
    free = [one for one in found if one.fd not in gone and (one.peer.address, one.peer.port) not in at_work]
    stays = len(found) - len(gone)
    assert stays <= BOUNDS.connections or not free
    counts = Counter(one.peer.net for one in found if one.fd not in gone)
    for net, count in counts.items():
        assert count <= BOUNDS.per_address or not any(one.peer.net == net for one in free)
    if gone and stays < BOUNDS.connections:
        most = max(Counter(one.peer.net for one in found).values())
        assert most > BOUNDS.per_address or stays >= BOUNDS.connections - len(counts), "no more go than have to"


@pytest.mark.parametrize(("wanted", "files"), [(16_384, 20_000), (16_384, 1_048_576), (100, 1_024), (16_384, 64)])
def test_files_are_left_for_the_server_itself(wanted: int, files: int) -> None:
    bounds = places(wanted, 0, files)
    assert bounds.accepted <= files - min(1_024, files // 4)
    assert bounds.per_address <= bounds.connections < bounds.accepted
    assert bounds.connections <= wanted
