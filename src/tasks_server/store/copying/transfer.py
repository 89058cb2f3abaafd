"""Moves all from a source to a target in batches, goes on where an earlier run was cut off, and compares in the end."""

from collections.abc import Callable, Iterator
from typing import Final

import msgspec
from msgspec.structs import replace

from tasks_server.clock import Clock
from tasks_server.domain.errors import Refused
from tasks_server.store.copying.ends import Source, Target
from tasks_server.store.copying.progress import Progress
from tasks_server.store.copying.shapes import KEPT, MOVED, Row, Shape, Sum, Tally

BATCH_ROWS: Final = 5_000
BATCH_BYTES: Final = 8 * 1_048_576
"""A batch ends with the row that reaches either; it is what is kept in memory."""


class Step(msgspec.Struct, frozen=True):
    """What is going on: rows that are done of those there are to do (0: not known)."""

    doing: str
    done: int
    total: int


class Copied(msgspec.Struct, frozen=True):
    """What came of it. `resumed`: an earlier run had begun it; `already`: had even ended it. `moved`: rows that this
    run brought.
    """

    tables: dict[str, Sum]
    resumed: bool
    already: bool
    moved: int
    seconds: float


class Transfer:
    """One run. `told` hears of each batch."""

    def __init__(
        self, source: Source, target: Target, clock: Clock, told: Callable[[Step], None], batch_rows: int = BATCH_ROWS
    ) -> None:
        self._source = source
        self._target = target
        self._clock = clock
        self._told = told
        self._batch_rows = batch_rows
        self._moved = 0

    def run(self, *, live: bool = False, replace_target: bool = False) -> Copied:
        """Copies, or goes on copying. `live`: others may write to the source meanwhile. Raises `Refused` when the
        target holds other data, or differs in the end; `StoreError`.
        """
        begun_at = self._clock.monotonic()
        if self._source.identity == self._target.identity:
            raise Refused(
                f"{self._target.shown} is the database that is to be copied, or was made from its file",
            )
        progress = self._target.progress()
        ours = progress is not None and progress.source == self._source.identity
        if progress is not None and ours and progress.state == "done" and not replace_target:
            self._refuse_changed(progress)
            return Copied(progress.sums, resumed=True, already=True, moved=0, seconds=0.0)
        resumed = progress is not None and ours and progress.state == "copying"
        if progress is None or not resumed:
            progress = self._begin(progress, ours, replace_target)
        progress = self._move(progress)
        expected = self._read_again(progress) if resumed else progress.sums
        self._compare(progress, expected)
        if not live and self._source.changed():
            self._target.note(replace(progress, state="differs"))
            raise Refused(
                f"{self._source.shown} was changed while it was copied, so the target lacks something: stop what "
                "works on it, then copy with --replace-target",
            )
        progress = replace(progress, state="done", sums=_complete(expected))
        self._told(Step("counting", 0, 0))
        self._target.finish(progress)
        return Copied(progress.sums, resumed, False, self._moved, self._clock.monotonic() - begun_at)

    def _refuse_changed(self, done: Progress) -> None:
        """A finished copy of what the source no longer is would pass for one of what it is."""
        now = _complete(self._read_again(done))
        faults = [_fault(name, now[name], done.sums[name]) for name in now if now[name] != done.sums[name]]
        if faults:
            raise Refused(
                f"{self._source.shown} has changed since it was copied: of what it holds now, in {self._target.shown} "
                f"{'; '.join(faults)}. Nothing was done; with --replace-target all that the target holds, also what "
                "came to it since, is deleted for good, and it is copied anew",
            )

    def _begin(self, before: Progress | None, ours: bool, replace_target: bool) -> Progress:
        if not replace_target:
            self._refuse_data(before, ours)
        progress = Progress(self._source.identity, self._clock.now())
        self._target.begin(progress, replace=replace_target)
        return progress

    def _refuse_data(self, before: Progress | None, ours: bool) -> None:
        advice = "with --replace-target, all that it holds is deleted for good first"
        shown = self._target.shown
        if before is not None and before.state != "done":
            came = "a copy that differed" if ours else "an unfinished copy of another database"
            raise Refused(f"{shown} holds {came}: {advice}")
        held = self._target.held()
        if held:
            counted = ", ".join(f"{n} {name}{'s' if n > 1 else ''}" for name, n in held.items())
            raise Refused(f"{shown} holds other data ({counted}): give an empty one; {advice}")

    def _move(self, progress: Progress) -> Progress:
        totals = self._source.counts()
        names = [shape.name for shape in MOVED]
        for shape in MOVED[names.index(progress.shape) :]:
            if shape.name != progress.shape:
                progress = replace(progress, shape=shape.name, after=None)
            before = self._done(shape, progress, totals)
            for batch, tally in self._batches(shape, progress):
                progress = replace(progress, after=shape.key_of(batch[-1]), sums=tally.sums())
                self._target.write(shape, batch, progress)
                self._moved += len(batch)
                before += len(batch)
                self._told(Step(shape.name, before, totals[shape.name]))
        return progress

    @staticmethod
    def _done(shape: Shape, progress: Progress, totals: dict[str, int]) -> int:
        """How many rows of the shape an earlier run brought, to show a share that is right."""
        if progress.after is None:
            return 0
        there = progress.sums.get(shape.goes_to, Sum()).rows
        return max(0, there - totals["attempt"]) if shape.table else there

    def _batches(self, shape: Shape, progress: Progress) -> Iterator[tuple[list[Row], Tally]]:
        """Rows that are still to move, with the sums of all that was read when these were."""
        fit = self._target.fit
        tally = Tally(progress.sums)
        batch: list[Row] = []
        size = 0
        for read in self._source.rows(shape, progress.after, progress.started_at):
            row = fit(shape, read)
            size += tally.add_moved(shape, row)
            batch.append(row)
            if len(batch) >= self._batch_rows or size >= BATCH_BYTES:
                yield batch, tally
                batch, size = [], 0
        if batch:
            yield batch, tally

    def _read_again(self, progress: Progress) -> dict[str, Sum]:
        """The sums of all that the source holds now: between two runs it may have changed."""
        tally = Tally()
        done, total = 0, sum(self._source.counts().values())
        for shape in MOVED:
            for row in self._source.rows(shape, None, progress.started_at):
                tally.add_moved(shape, self._target.fit(shape, row))
                done += 1
                if done % self._batch_rows == 0:
                    self._told(Step("reading again", done, total))
        return tally.sums()

    def _compare(self, progress: Progress, expected: dict[str, Sum]) -> None:
        tally = Tally()
        done, total = 0, sum(found.rows for found in expected.values())
        for shape in KEPT:
            for row in self._target.rows(shape):
                tally.add(shape.name, row)
                done += 1
                if done % self._batch_rows == 0:
                    self._told(Step("comparing", done, total))
        arrived, wanted = _complete(tally.sums()), _complete(expected)
        faults = [_fault(name, wanted[name], arrived[name]) for name in wanted if wanted[name] != arrived[name]]
        if faults:
            self._target.note(replace(progress, state="differs"))
            raise Refused(
                f"the copy differs from {self._source.shown}: {'; '.join(faults)}. Nothing works on the target until "
                "it is copied anew, with --replace-target",
            )


def _complete(sums: dict[str, Sum]) -> dict[str, Sum]:
    """One for each table, in their order."""
    return {shape.name: sums.get(shape.name, Sum()) for shape in KEPT}


def _fault(name: str, wanted: Sum, arrived: Sum) -> str:
    if wanted.rows != arrived.rows:
        return f"{name} has {arrived.rows} rows in place of {wanted.rows}"
    return f"{name} has {arrived.rows} rows as it should, but with checksum {arrived.shown}, not {wanted.shown}"
