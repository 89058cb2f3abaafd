"""What counts where a task does not say: one table for each version of the stored form (`domain.forms`). The types of
`domain.request` and `domain.options` take their defaults from the last one.

To change a default, add a version: `replace(VERSIONS[-1], …)`. Tasks that were stored under an earlier one keep what
held when they were accepted.
"""

from typing import Final, Literal

import msgspec
from msgspec.structs import replace

Backoff = Literal["fixed", "linear", "exponential"]
RedirectMethod = Literal["change", "keep", "refuse"]
HttpVersion = Literal["0.9", "1.0", "1.1", "2", "2-prior-knowledge", "3"]


class Defaults(msgspec.Struct, frozen=True, kw_only=True):
    """By the names of the options; instants and durations are milliseconds. What is null by default is not here."""

    transport: Literal["fetch", "curl"] = "fetch"

    execution_delay: int = 1
    execute_immediately: bool = False
    retry: int = 0
    retry_interval: int = 1
    """Where only the form of the growth is given."""
    retry_max_interval: int = 86_400_000
    """A longer `retryInterval` wins over it."""
    retry_waits: tuple[Backoff, int] = ("linear", 1)
    """How retries wait where none of `retryInterval`, `retryExponential` and `retryBackoff` is given: the form of the
    growth, and the first wait."""
    retry_jitter: float = 0.2
    """The share of waits that grow exponentially which is left to chance."""
    repeat: int = 0
    repeat_interval: int = 1_000
    repeat_exponential: bool = True
    timeout: int = 30_000
    priority: int = 0
    lane: str = "default"
    location: bool = True
    redirect_attempts: int = 8
    redirect_method: RedirectMethod = "change"
    trace_response_data: bool = True

    http_version: HttpVersion = "1.1"
    doh_insecure: bool = False
    insecure: bool = False
    cert_status: bool = False
    cert_type: Literal["DER", "PEM", "P12"] = "PEM"
    key_type: Literal["DER", "PEM"] = "PEM"
    session_id: bool = True
    proxy_insecure: bool = False
    ha_proxy_protocol: bool = False


_FIRST: Final = Defaults()
VERSIONS: Final = (_FIRST, _FIRST, replace(_FIRST, retry_waits=("exponential", 1_000), retry_interval=1_000))
"""The first is of what was stored before there were versions. With the third, retries wait by default."""
NOW: Final = VERSIONS[-1]
