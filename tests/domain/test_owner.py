"""Owner names: 5 to 32 of a-z, 0-9 and single hyphens, from a letter to a letter or digit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks_server.domain.owner import name_fault

FIRST = "abcdefghijklmnopqrstuvwxyz"
LAST = FIRST + "0123456789"


def fits(name: str) -> bool:
    """The rule of the contract, spelt out."""
    return (
        5 <= len(name) <= 32
        and set(name) <= set(LAST + "-")
        and name[0] in FIRST
        and name[-1] != "-"
        and "--" not in name
    )


@given(st.text(alphabet="ab9-", max_size=40) | st.text(max_size=40) | st.from_regex(r"[a-z][a-z0-9-]*\Z"))
def test_a_name_fits_when_the_contract_says_so(name: str) -> None:
    assert (name_fault(name) is None) == fits(name)


@pytest.mark.parametrize("name", ["abcde", "a1234", "a-b-c", "shop-24", "a" * 32])
def test_names(name: str) -> None:
    assert name_fault(name) is None


@pytest.mark.parametrize(
    "name", ["", "abcd", "a" * 33, "1abcd", "-abcd", "abcd-", "ab--cd", "Abcde", "abcdé", "ab cd", "abcde\n", "ab_cd"]
)
def test_no_names(name: str) -> None:
    fault = name_fault(name)
    assert fault is not None
    assert fault.startswith("must be 5 to 32")
