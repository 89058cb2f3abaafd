"""The egress policy as a rule of registrations: what shows in a request, without any name looked up. The last word is
spoken when a connection is made.
"""

from tasks_server.domain.egress import Egress
from tasks_server.domain.errors import Fault
from tasks_server.domain.request import TaskConfig


def judge_egress(target: str, config: TaskConfig, egress: Egress, faults: list[Fault]) -> None:
    """Judges the target (`host:port`), the proxy, and the addresses that the task itself gives to names."""
    refusal = egress.refusal_of_target(target)
    if refusal is not None:
        faults.append(Fault("httpRequest.url", f"leads to {refusal}", target))
    if config.proxy is not None:
        host = config.proxy.host
        refusal = egress.refusal_of_host(host)
        if refusal is not None:
            faults.append(Fault("config.proxy.host", f"is {refusal}", host))
    for index, entry in enumerate(config.resolve or ()):
        for place, address in enumerate(entry.address):
            refusal = egress.refusal(address)
            if refusal is not None:
                faults.append(Fault(f"config.resolve.{index}.address.{place}", f"is {refusal}", address))
