"""Which egress policy these settings mean, when they name none. What a policy refuses is in `domain.egress`."""

import ipaddress
from typing import Literal

from tasks_server.settings.table import Settings


def egress_policy(settings: Settings) -> Literal["open", "private", "public"]:
    """The policy that was chosen; else by who can reach the server: `open` when only this machine can. It goes by the
    text of `host`, so that every process and command comes to the same answer.
    """
    if settings.egress_policy is not None:
        return settings.egress_policy
    if settings.host == "localhost":
        return "open"
    try:
        return "open" if ipaddress.ip_address(settings.host.strip("[]")).is_loopback else "public"
    except ValueError:
        return "public"
