"""Seals anew what is sealed with a key that is to go, in bounded steps beside all other work."""

from collections.abc import Sequence
from typing import Any

import apsw

from tasks_server.domain.errors import Corrupt
from tasks_server.store.ports import Resealed
from tasks_server.store.resealing import PLACES, Place
from tasks_server.store.sealing import (
    Sealer,
    key_id_of,
)
from tasks_server.store.sqlite.schema import replaced_keys, reseal_canary
from tasks_server.store.sqlite.statements import sql


class Resealings:
    """The batch functions of changing keys."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    def step(
        self, connection: apsw.Connection, items: Sequence[tuple[tuple[int, int, int], int]]
    ) -> Sequence[Resealed]:
        """Each item is where to go on and how many values at most. A damaged value is left as it is."""
        return [self._step(connection, after, limit) for after, limit in items]

    def _step(self, connection: apsw.Connection, after: tuple[int, int, int], limit: int) -> Resealed:
        number, first, second = after
        if number == len(PLACES):
            reseal_canary(connection, self._sealer)
            return Resealed(1, 1, None)
        place = PLACES[number]
        cursor = _named(sql(place.find), first=first, second=second, count_max=limit)
        rows: list[Any] = connection.execute(sql(place.find), cursor).fetchall()
        if not rows:
            return Resealed(0, 0, (number + 1, -1, -1))
        changed = sum(self._reseal(connection, place, *row) for row in rows)
        return Resealed(len(rows), changed, (number, rows[-1][0], rows[-1][1]))

    def _reseal(
        self, connection: apsw.Connection, place: Place, first: int, second: int, bound_to: str, name: str, sealed: Any
    ) -> bool:
        if sealed is None or key_id_of(sealed) == self._sealer.sealing_key_id:
            return False
        context = place.context(second, bound_to, name)
        try:
            plain = self._sealer.open(sealed, context)
        except Corrupt:
            return False
        text = sql(place.change)
        renamed = place.renamed(bound_to, plain, self._sealer) if place.renamed else name
        row = _named(
            text,
            first=first,
            second=second,
            bound_to=bound_to,
            name=name,
            renamed=renamed,
            sealed=self._sealer.seal(plain, context),
        )
        connection.execute(text, row)
        return bool(connection.changes())

    @staticmethod
    def replaced(connection: apsw.Connection, items: Sequence[None]) -> Sequence[set[bytes]]:
        """For each item, which keys sealed everything once."""
        return [replaced_keys(connection) for _ in items]

    @staticmethod
    def used(connection: apsw.Connection, items: Sequence[None]) -> Sequence[dict[bytes, int]]:
        """For each item, how many values are sealed with each key."""
        rows: list[Any] = connection.execute(sql("keys_used")).fetchall()
        return [dict(rows) for _ in items]


def _named(text: str, **values: Any) -> dict[str, Any]:
    """Those of the values that a statement asks for."""
    return {name: value for name, value in values.items() if f":{name}" in text}
