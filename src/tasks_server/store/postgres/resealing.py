"""Seals anew what is sealed with a key that is to go, in bounded steps beside all other work."""

from collections.abc import Sequence
from typing import Any

from tasks_server.domain.errors import Corrupt
from tasks_server.store.ports import Resealed
from tasks_server.store.postgres.link import Connection
from tasks_server.store.postgres.rows import pack
from tasks_server.store.postgres.schema import replaced_keys, reseal_canary
from tasks_server.store.postgres.statements import sql
from tasks_server.store.resealing import PLACES, Place
from tasks_server.store.sealing import (
    Sealer,
    head_of,
    key_id_of,
)


class Resealings:
    """The batch functions of changing keys."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    def step(self, connection: Connection, items: Sequence[tuple[tuple[int, int, int], int]]) -> Sequence[Resealed]:
        """Each item is where to go on and how many values at most. A damaged value is left as it is, and so is one
        that somebody else changes meanwhile: nothing is held for this.
        """
        return [self._step(connection, after, limit) for after, limit in items]

    def _step(self, connection: Connection, after: tuple[int, int, int], limit: int) -> Resealed:
        number, first, second = after
        if number == len(PLACES):
            reseal_canary(connection, self._sealer)
            return Resealed(1, 1, None)
        place = PLACES[number]
        cursor = {"first": first, "second": second, "count_max": limit}
        rows: list[Any] = connection.execute(sql(place.find), cursor).fetchall()
        if not rows:
            return Resealed(0, 0, (number + 1, -1, -1))
        sealed = [new for row in rows if (new := self._reseal(place, *row)) is not None]
        changed = connection.execute(sql(place.change), {"rows": pack(sealed)}).rowcount if sealed else 0
        return Resealed(len(rows), changed, (number, rows[-1][0], rows[-1][1]))

    def _reseal(
        self, place: Place, first: int, second: int, bound_to: str, name: str, sealed: Any
    ) -> tuple[Any, ...] | None:
        """The row for `change`, or None when the value stays as it is."""
        if sealed is None or key_id_of(sealed) == self._sealer.sealing_key_id:
            return None
        context = place.context(second, bound_to, name)
        try:
            plain = self._sealer.open(sealed, context)
        except Corrupt:
            return None
        renamed = place.renamed(bound_to, plain, self._sealer) if place.renamed else name
        return first, second, name, head_of(sealed).hex(), self._sealer.seal(plain, context).hex(), renamed, bound_to

    @staticmethod
    def replaced(connection: Connection, items: Sequence[None]) -> Sequence[set[bytes]]:
        """For each item, which keys sealed everything once."""
        return [replaced_keys(connection) for _ in items]

    @staticmethod
    def used(connection: Connection, items: Sequence[None]) -> Sequence[dict[bytes, int]]:
        """For each item, how many values are sealed with each key. It reads everything, as long as that takes."""
        with connection.transaction():
            connection.execute("SET LOCAL statement_timeout = 0")
            connection.execute("SET LOCAL enable_seqscan = on")
            rows: list[Any] = connection.execute(sql("keys_used")).fetchall()
        return [dict(rows) for _ in items]
