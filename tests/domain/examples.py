"""Tasks, configurations and outcomes for the tests of the domain: by hand, and by hypothesis."""

from typing import Any

from hypothesis import strategies as st

from tasks_server.domain import limits
from tasks_server.domain.attempt import Outcome, OutcomeKind
from tasks_server.domain.lifecycle import Progress
from tasks_server.domain.request import TaskConfig
from tasks_server.domain.task import State, Task

NOW = 1_700_000_000_000
DUE = NOW + 60_000


def a_task(state: State = State.SCHEDULED, **fields: Any) -> Task:
    """A task in `state` that was due a minute after NOW, with the fields that such a task has."""
    known: dict[str, Any] = {
        "id": "0" * 24, "owner": "0" * 26, "lane": "default", "state": state, "priority": 0,
        "created_at": NOW - 1_000, "due_at": DUE, "execution_at": DUE, "target": "example.com:80",
    }  # fmt: skip
    if state is State.PAUSED:
        known |= {"ended_at": NOW - 500, "remaining_ms": 60_500}
    elif state in (State.COMPLETED, State.FAILED, State.REVOKED):
        known |= {"ended_at": NOW - 500, "attempt": 3, "failures": 2}
    elif state in (State.RETRYABLE, State.RUNNING):
        known |= {"attempt": 2, "failures": 1}
    return Task(**(known | fields))


instants = st.integers(NOW, NOW + 10 * limits.DAY_MS)
spans = st.integers(1, 3 * limits.DAY_MS)
jitters = st.floats(0, 1, exclude_max=True)
states = st.sampled_from(list(State))
tasks = st.builds(
    lambda state, due, failures, expire: a_task(state, due_at=due, failures=failures, expire_at=expire),
    states,
    instants,
    st.integers(0, 5),
    st.none() | instants,
)

configs = st.builds(
    TaskConfig,
    retry=st.integers(0, 6),
    retry_interval=spans,
    retry_exponential=st.booleans(),
    retry_backoff=st.sampled_from([None, "fixed", "linear", "exponential"]),
    retry_max_interval=spans,
    retry_jitter=st.none() | st.floats(0, 1),
    retry_at=st.none() | instants,
    repeat=st.integers(0, 4),
    repeat_interval=spans,
    repeat_exponential=st.booleans(),
    repeat_at=st.none() | instants,
    ignore_status_code=st.lists(st.integers(400, 599), max_size=3),
)

_STATUS = {
    OutcomeKind.SUCCESS: st.integers(200, 399),
    OutcomeKind.HTTP_ERROR: st.integers(400, 599),
    OutcomeKind.TIMEOUT: st.just(408),
    OutcomeKind.CONNECTION: st.just(500),
    OutcomeKind.TOO_LARGE: st.just(422),
    OutcomeKind.BLOCKED: st.just(403),
    OutcomeKind.EXPIRED: st.just(408),
    OutcomeKind.UNSENDABLE: st.just(500),
}


def outcomes_of(kind: OutcomeKind) -> st.SearchStrategy[Outcome]:
    """Outcomes of one kind with all that may come along."""
    return st.builds(
        Outcome,
        kind=st.just(kind),
        status_code=_STATUS.get(kind, st.just(0)),
        error=st.just(None) if kind is OutcomeKind.SUCCESS else st.none() | st.just("why"),
        retry_after_ms=st.none() | st.integers(0, 10 * limits.DAY_MS),
        no_retry=st.booleans(),
    )


outcomes = st.sampled_from(list(OutcomeKind)).flatmap(outcomes_of)
runs = st.builds(
    Progress,
    due_at=instants,
    failures=st.integers(0, 7),
    repeats=st.integers(0, 5),
    expire_at=st.none() | instants,
    status_code=st.sampled_from([0, 200, 503]),
    error=st.none() | st.just("before"),
    remaining_ms=st.none() | spans,
)
