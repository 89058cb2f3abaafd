"""The sealer alone: what goes in comes out, and nothing else does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks_server.domain.errors import Corrupt
from tasks_server.store.sealing import Sealer, key_id

ONE, OTHER = bytes(range(32)), bytes(range(32, 64))
sealer = Sealer(ONE)


@given(st.binary(max_size=2_000), st.binary(max_size=50))
def test_what_was_sealed_comes_back(plain: bytes, context: bytes) -> None:
    sealed = sealer.seal(plain, context)
    assert sealer.open(sealed, context) == plain
    assert Sealer(ONE).open(sealed, context) == plain  # another process


@given(st.binary(max_size=100), st.integers(0), st.integers(0, 7))
def test_any_flipped_bit_is_noticed(plain: bytes, position: int, bit: int) -> None:
    sealed = bytearray(sealer.seal(plain, b"here"))
    sealed[position % len(sealed)] ^= 1 << bit
    with pytest.raises(Corrupt):
        sealer.open(bytes(sealed), b"here")


@given(st.binary(max_size=100))
def test_bytes_that_were_never_sealed_are_refused(blob: bytes) -> None:
    with pytest.raises(Corrupt):
        sealer.open(blob, b"")


@given(st.binary(max_size=20), st.binary(max_size=20))
def test_a_blob_fits_its_own_context_alone(one: bytes, other: bytes) -> None:
    sealed = sealer.seal(b"x", one)
    if one != other:
        with pytest.raises(Corrupt, match="changed or damaged"):
            sealer.open(sealed, other)


@given(st.integers(0, 60))
def test_a_cut_blob_is_refused(length: int) -> None:
    sealed = sealer.seal(b"some text", b"")
    if length < len(sealed):
        with pytest.raises(Corrupt):
            sealer.open(sealed[:length], b"")


def test_no_nonce_is_used_twice() -> None:
    sealed = [sealer.seal(b"same", b"") for _ in range(1_000)]
    assert len({blob[:29] for blob in sealed}) == 1_000
    assert Sealer(ONE).seal(b"same", b"")[:21] != sealed[0][:21]  # another start, another session key


def test_the_newest_key_seals_and_every_key_opens() -> None:
    old, rotated = Sealer(ONE).seal(b"x", b""), Sealer(OTHER, ONE)
    assert rotated.open(old, b"") == b"x"
    new = rotated.seal(b"y", b"")
    assert Sealer(OTHER).open(new, b"") == b"y"
    with pytest.raises(Corrupt, match="another cipher key"):
        Sealer(ONE).open(new, b"")


def test_a_keys_name_does_not_tell_the_key() -> None:
    assert key_id(ONE) != key_id(OTHER)
    assert len(key_id(ONE)) == 4
    assert ONE not in sealer.seal(b"", b"")


@pytest.mark.parametrize("keys", [(), (b"",), (bytes(31),), (bytes(33),), (ONE, b"short")])
def test_keys_of_another_length_are_refused(keys: tuple[bytes, ...]) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Sealer(*keys)
