"""Every option of a request says what it does, and some test has seen it do that at a target."""

import msgspec
import pytest

from tasks_server.domain import reading
from tests.tidy.options import OPTIONS, seen, told

FIELDS = [(place, field) for place, kind in OPTIONS.items() for field in msgspec.structs.fields(kind)]


@pytest.mark.parametrize(("place", "field"), FIELDS, ids=[field.encode_name for _, field in FIELDS])
def test_every_option_is_described_and_was_seen(place: str, field: msgspec.structs.FieldInfo) -> None:
    meaning, becomes, _ = told(field.type)
    assert meaning.endswith("."), f"{place}.{field.encode_name} does not say what it does"
    assert becomes, f"{place}.{field.encode_name} does not say what it becomes"
    assert seen().get(field.encode_name), f"no test with the mark option({field.encode_name!r}) saw it at a target"


def test_marks_name_options_that_exist() -> None:
    assert set(seen()) == {field.encode_name for _, field in FIELDS}


def test_nothing_is_offered_and_refused_at_once() -> None:
    offered = {field.encode_name for _, field in FIELDS}
    assert not offered & (reading.REQUEST_NOT_OFFERED | reading.CONFIG_NOT_OFFERED)
