"""Runs claims: builds their calls, follows them, turns their endings into reports."""

import asyncio
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from tasks_server.clock import Clock
from tasks_server.domain import lifecycle
from tasks_server.domain.attempt import Attempt, Outcome, OutcomeKind
from tasks_server.domain.errors import StoreError
from tasks_server.domain.request import TaskConfig, TaskSpec, decode_spec
from tasks_server.domain.retry import next_retry_at
from tasks_server.domain.signing import message_id
from tasks_server.engine.calls import Call, Caller, Done
from tasks_server.engine.inflight import InFlight, Running
from tasks_server.engine.settler import Settler
from tasks_server.engine.signatures import Signatures
from tasks_server.store.ports import Claim, Report
from tasks_server.telemetry import AttemptEnded, Telemetry

_INTERRUPTED: Final = Outcome(OutcomeKind.INTERRUPTED, error="cut short by a shutdown of the server")
_UNSIGNED: Final = Outcome(OutcomeKind.INTERRUPTED, error="given back: the store did not tell how to sign it")
_NO_REQUEST: Final = Outcome(OutcomeKind.UNSENDABLE, status_code=500, error="the stored task has no request")
_EXPIRED: Final = Outcome(OutcomeKind.EXPIRED, status_code=408, error=lifecycle.EXPIRED_ERROR)


class Executor:
    """Between claims and the caller. Lives in one event loop; the caller reports from a thread of its own."""

    def __init__(
        self,
        caller: Caller,
        settler: Settler,
        inflight: InFlight,
        clock: Clock,
        telemetry: Telemetry,
        signatures: Signatures,
        *,
        jitter: Callable[[], float],
        on_free: Callable[[], None],
    ) -> None:
        self._caller = caller
        self._settler = settler
        self._inflight = inflight
        self._clock = clock
        self._telemetry = telemetry
        self._signatures = signatures
        self._jitter = jitter
        self._on_free = on_free
        self._tokens = itertools.count(1)
        self._nothing = asyncio.Event()
        self._nothing.set()

    def start(self) -> None:
        """Begins to listen to the caller, in the event loop that runs now."""
        loop = asyncio.get_running_loop()

        def hand_over(done: list[Done]) -> None:
            loop.call_soon_threadsafe(self.ended, done)

        self._caller.start(hand_over)

    async def begin(self, claims: Sequence[Claim]) -> None:
        """Sends what these claims ask for, each not before its time. Raises `StoreError` when it cannot be found out
        how to sign them; then they are given back.
        """
        try:
            await self._signatures.refresh({claim.owner for claim in claims})
        except StoreError:
            now = self._clock.now()
            for claim in claims:
                self._report(claim, TaskConfig(), _UNSIGNED, now, now)
            raise
        now = self._clock.now()
        calls = []
        for claim in claims:
            call = self._prepare(claim, now)
            if call is not None:
                calls.append(call)
        if calls:
            self._nothing.clear()
            self._caller.send(calls)

    def ended(self, batch: Sequence[Done]) -> None:
        """Turns ended calls into reports."""
        for done in batch:
            running = self._inflight.take(done.token)
            if running is not None:
                self._report(running.claim, running.config, done.outcome, done.started_at, done.ended_at)
        self._freed()

    def drop(self, running: Iterable[Running]) -> None:
        """Drops calls whose lease is gone: nothing is reported of them."""
        tokens = [one.token for one in running if self._inflight.take(one.token) is not None]
        self._caller.abort(tokens)
        self._freed()

    def interrupt(self) -> None:
        """Drops all calls and gives their tasks back uncounted."""
        every = self._inflight.all()
        self._caller.abort([running.token for running in every])
        now = self._clock.now()
        for running in every:
            self._inflight.take(running.token)
            self._report(running.claim, running.config, _INTERRUPTED, min(now, running.claim.due_at), now)
        self._freed()

    async def finished(self) -> None:
        """Returns once nothing is in flight."""
        await self._nothing.wait()

    def _freed(self) -> None:
        if not len(self._inflight):
            self._nothing.set()
        self._on_free()

    def _prepare(self, claim: Claim, now: int) -> Call | None:
        """The call of a claim; None when there is nothing to send, which is reported at once."""
        try:
            spec = decode_spec(claim.spec)
        except msgspec.DecodeError as error:
            outcome = Outcome(
                OutcomeKind.UNSENDABLE, status_code=500, error=f"the stored request is unreadable: {error}"
            )
            self._report(claim, TaskConfig(), outcome, now, now)
            return None
        config = spec.config
        if spec.request is None:
            self._report(claim, config, _NO_REQUEST, now, now)
            return None
        start_at = max(now, claim.due_at)
        if claim.expire_at is not None and start_at >= claim.expire_at:
            self._report(claim, config, _EXPIRED, start_at, start_at)
            return None
        timeout_ms = config.timeout
        if config.timeout_at is not None and claim.attempt == 1:
            timeout_ms = max(1, config.timeout_at - start_at)
        token = next(self._tokens)
        self._inflight.add(Running(token, claim, config, start_at + timeout_ms))
        return Call(
            token,
            spec.request,
            config,
            _headers(claim, spec, start_at),
            start_at,
            timeout_ms,
            self._signatures.keys(claim.owner, start_at),
            message_id(claim.id, claim.repeats),
            spec.special,
        )

    def _report(self, claim: Claim, config: TaskConfig, outcome: Outcome, started_at: int, ended_at: int) -> None:
        progress = lifecycle.Progress(
            claim.due_at, claim.failures, claim.repeats, claim.expire_at, claim.status_code, claim.error
        )
        settlement = lifecycle.settle(progress, config, outcome, ended_at, self._jitter())
        attempt = Attempt(
            claim.attempt,
            claim.due_at,
            started_at,
            ended_at,
            outcome.kind,
            outcome.status_code,
            outcome.error,
            outcome.response,
        )
        self._settler.add(Report(claim.ref, claim.lease, claim.id, settlement, attempt))
        if self._telemetry.debug:
            self._telemetry.emit(
                AttemptEnded(
                    task=claim.id,
                    attempt=claim.attempt,
                    target=claim.target,
                    outcome=outcome.kind,
                    status=outcome.status_code,
                    ms=ended_at - started_at,
                )
            )


def _headers(claim: Claim, spec: TaskSpec, start_at: int) -> list[tuple[str, str]]:
    """The headers by which the target can tell tasks, attempts and repeats apart (contract section 5)."""
    headers = [("X-Tasks-Queue-Id", claim.id), ("X-Tasks-Attempt", str(claim.attempt))]
    if claim.failures:
        policy = spec.config.retry_policy()
        headers.append(("X-Tasks-Retry-Count", str(claim.failures)))
        headers.append(("X-Tasks-Retry-Limit", str(policy.retries_max)))
        if claim.failures < policy.retries_max:
            next_at = next_retry_at(policy, claim.failures + 1, start_at, 0.0)
            headers.append(("X-Tasks-Estimate-Next-Retry-At", str(next_at)))
    if claim.repeats:
        headers.append(("X-Tasks-Repeat-Count", str(claim.repeats)))
    own = spec.request.headers if spec.request is not None else None
    if own is None or not any(name.lower() == "idempotency-key" for name in own):
        # A repeat is another message than the run before it: a target that knows the key would pass it over.
        headers.append(("Idempotency-Key", message_id(claim.id, claim.repeats)))
    return headers
