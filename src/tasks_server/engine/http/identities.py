"""Keeps connections, TLS sessions and addresses of different identities apart: each has a libcurl share of its own.

libcurl itself compares much of this before it uses a connection again, but not all (an address given by `resolve`, a
key, the HAProxy line), and it has one cache of addresses for all.
"""

from collections import OrderedDict
from typing import Final

import pycurl

_IDLE_MAX: Final = 64


class Identities:
    """Shares by identity. Those in no use are kept, the last `idle_max` of them, with their idle connections."""

    def __init__(self, idle_max: int = _IDLE_MAX) -> None:
        self._idle_max = idle_max
        self._busy: dict[bytes, tuple[pycurl.CurlShare, int]] = {}
        self._idle: OrderedDict[bytes, pycurl.CurlShare] = OrderedDict()

    def __len__(self) -> int:
        return len(self._busy) + len(self._idle)

    def take(self, identity: bytes) -> "pycurl.CurlShare":
        """The identity's share, for one handle. Each `take` is followed by a `give`."""
        share, users = self._busy.get(identity, (None, 0))
        if share is None:
            share = self._idle.pop(identity, None) or new_share()
        self._busy[identity] = (share, users + 1)
        return share

    def give(self, identity: bytes) -> None:
        """One handle less; it has been closed."""
        share, users = self._busy.pop(identity)
        if users > 1:
            self._busy[identity] = (share, users - 1)
            return
        self._idle[identity] = share
        while len(self._idle) > self._idle_max:
            self._idle.popitem(last=False)[1].close()

    def close_idle(self) -> None:
        """Closes every share in no use, with its connections."""
        for share in self._idle.values():
            share.close()
        self._idle.clear()


def new_share() -> "pycurl.CurlShare":
    """Connections, TLS sessions and addresses of nobody yet."""
    share = pycurl.CurlShare()
    for kind in (pycurl.LOCK_DATA_CONNECT, pycurl.LOCK_DATA_DNS, pycurl.LOCK_DATA_SSL_SESSION):
        share.setopt(pycurl.SH_SHARE, kind)
    return share
