"""The whole state machine: every state with every event gives the row below, or `IllegalTransition`."""

import pytest

from tasks_server.domain.errors import Refused
from tasks_server.domain.lifecycle import TRANSITIONS, EventKind, IllegalTransition, allowed, step
from tasks_server.domain.task import FINAL, PENDING, WAITING, State

# Written by hand, not from the code: state, event, where it may lead.
ROWS = """
scheduled promote    available
scheduled pause      paused
scheduled revoke     revoked
scheduled expire     failed
scheduled execute    available
scheduled edit       scheduled available retryable

available claim      running
available pause      paused
available revoke     revoked
available expire     failed
available execute    available
available edit       scheduled available retryable

running   succeed    completed
running   repeat     scheduled available
running   retry      retryable available
running   fail       failed
running   give_back  scheduled available retryable
running   pause      paused
running   revoke     revoked
running   execute    running

retryable promote    available
retryable pause      paused
retryable revoke     revoked
retryable expire     failed
retryable execute    available
retryable edit       scheduled available retryable

paused    resume     scheduled available retryable
paused    revoke     revoked
paused    expire     failed
paused    edit       paused

completed restart    available
failed    restart    available
revoked   restart    available
"""
EXPECTED = {
    (State(words[0]), EventKind(words[1])): frozenset(map(State, words[2:]))
    for words in (line.split() for line in ROWS.splitlines() if line)
}
OF_OWNERS = {EventKind(name) for name in ("pause", "resume", "revoke", "execute", "edit", "restart")}


@pytest.mark.parametrize("event", list(EventKind))
@pytest.mark.parametrize("state", list(State))
def test_every_state_with_every_event(state: State, event: EventKind) -> None:
    expected = EXPECTED.get((state, event))
    if expected is None:
        with pytest.raises(IllegalTransition) as refusal:
            allowed(state, event)
        assert (refusal.value.state, refusal.value.event) == (state, event)
        assert state.value in refusal.value.message
    else:
        assert allowed(state, event) == expected
    for to in State:
        if expected is not None and to in expected:
            assert step(state, event, to) is to
        else:
            with pytest.raises(IllegalTransition):
                step(state, event, to)


def test_the_table_has_no_row_beside_these() -> None:
    assert TRANSITIONS == EXPECTED


def test_every_state_can_be_reached_and_left() -> None:
    reached = frozenset().union(*TRANSITIONS.values()) | {State.SCHEDULED, State.AVAILABLE}
    assert reached == set(State)
    assert {state for state, _ in TRANSITIONS} == set(State)


def test_a_final_state_is_left_by_its_owner_alone() -> None:
    for state, event in TRANSITIONS:
        if state in FINAL:
            assert event is EventKind.RESTART


def test_the_groups_of_states() -> None:
    assert {State.COMPLETED, State.FAILED, State.REVOKED} == FINAL
    assert {State.SCHEDULED, State.RETRYABLE} == WAITING
    assert WAITING | {State.AVAILABLE} == PENDING


@pytest.mark.parametrize("event", sorted(OF_OWNERS))
def test_a_refusal_tells_the_owner_what_is_possible(event: EventKind) -> None:
    refused = [state for state in State if (state, event) not in EXPECTED]
    assert refused
    for state in refused:
        error = IllegalTransition(state, event)
        assert isinstance(error, Refused)
        assert error.message.startswith(f"the task is {state.value}: only a ")
        assert error.code == "state_refuses"
