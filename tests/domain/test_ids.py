"""Identifiers and keys: their form, their order, and that no byte of randomness is lost."""

from hypothesis import given
from hypothesis import strategies as st

from tasks_server.domain import ids

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
instants = st.integers(0, 2**48 - 1)
bytes9 = st.binary(min_size=9, max_size=9)
bytes10 = st.binary(min_size=10, max_size=10)


def value(text: str) -> int:
    """What a text of Crockford's base 32 stands for."""
    number = 0
    for character in text:
        number = number * 32 + CROCKFORD.index(character)
    return number


@given(instants, bytes9)
def test_a_task_id_holds_its_time_and_all_of_its_random_bytes(at: int, random: bytes) -> None:
    text = ids.task_id(at, random)
    assert len(text) == 24
    assert ids.is_task_id(text)
    assert value(text) == at * 2**72 + int.from_bytes(random, "big")


@given(instants, bytes10)
def test_an_owner_id_is_a_ulid(at: int, random: bytes) -> None:
    text = ids.owner_id(at, random)
    assert len(text) == 26
    assert ids.is_owner_id(text)
    assert value(text[:10]) == at  # the layout of the ULID specification: 10 characters of time, 16 of randomness
    assert value(text[10:]) == int.from_bytes(random, "big")
    assert text[0] <= "7"


@given(st.lists(st.tuples(instants, bytes9, bytes10), min_size=2, max_size=20))
def test_ids_sort_by_time_as_text(made: list[tuple[int, bytes, bytes]]) -> None:
    made.sort(key=lambda entry: entry[0])
    times = [at for at, _, _ in made]
    for texts in ([ids.task_id(at, r) for at, r, _ in made], [ids.owner_id(at, r) for at, _, r in made]):
        order = sorted(range(len(texts)), key=texts.__getitem__)
        assert [times[index] for index in order] == times


@given(st.text(max_size=40))
def test_only_what_could_be_an_id_is_taken_for_one(text: str) -> None:
    assert ids.is_task_id(text) == (len(text) == 24 and set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"))
    assert ids.is_owner_id(text) == (len(text) == 26 and set(text) <= set(CROCKFORD))


def test_near_misses_are_no_ids() -> None:
    good = ids.task_id(1_700_000_000_000, bytes(9))
    for bad in (good.lower(), good[:-1], good + "0", good[:-1] + "\n", good[:-1] + "Ä", good[:-1] + "٣", "a" * 24):
        assert not ids.is_task_id(bad), bad
    owner = ids.owner_id(1_700_000_000_000, bytes(10))
    for bad in (owner.lower(), owner[:-1], owner[:-1] + "U", owner[:-1] + "I", owner[:-1] + "O", owner[:-1] + "L"):
        assert not ids.is_owner_id(bad), bad


@given(st.binary(min_size=ids.KEY_RANDOM_BYTES, max_size=ids.KEY_RANDOM_BYTES))
def test_a_key_is_64_letters_and_digits(random: bytes) -> None:
    key = ids.owner_key(random)
    assert len(key) == 64
    assert key.isascii()
    assert key.isalnum()


def test_a_key_draws_every_character_equally_often() -> None:
    drawn = "".join(ids.owner_key(bytes([byte] * 128))[0] for byte in range(248))
    assert len(set(drawn)) == 62
    assert all(drawn.count(character) == 4 for character in drawn)
    skewing = bytes(range(248, 256)) * 8  # 64 bytes that are not used
    assert ids.owner_key(skewing + bytes(range(64))) == ids.owner_key(bytes(range(64)) + skewing)


@given(st.text(), st.text())
def test_digests_tell_keys_apart(one: str, other: str) -> None:
    assert len(ids.key_digest(one)) == 32
    assert (ids.key_digest(one) == ids.key_digest(other)) == (one == other)


def test_a_key_that_is_not_unicode_has_a_digest_too() -> None:
    assert ids.key_digest("\ud800") != ids.key_digest("\ud801")
