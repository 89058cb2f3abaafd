"""The egress policy as a rule of registrations: what shows in a request, without any name looked up. The last word is
spoken when a connection is made.
"""

from tasks_server.domain import urls
from tasks_server.domain.addresses import literal
from tasks_server.domain.egress import Egress
from tasks_server.domain.errors import Fault
from tasks_server.domain.request import TaskConfig


def judge_egress(target: str, config: TaskConfig, egress: Egress, faults: list[Fault]) -> None:
    """Judges the target (`host:port`), the proxy, its own DNS servers, and the addresses that it gives
    to names.
    """
    refusal = egress.refusal_of_target(target)
    if refusal is not None:
        faults.append(Fault("httpRequest.url", f"leads to {refusal}", target))
    if config.proxy is not None:
        host = config.proxy.host
        refusal = egress.refusal_of_host(host)
        if refusal is not None:
            faults.append(Fault("config.proxy.host", f"is {refusal}", host))
    for index, server in enumerate(config.dns_server or ()):
        refusal = egress.refusal(server)
        if refusal is not None and literal(server) is not None:
            faults.append(Fault(f"config.dnsServer.{index}", f"is {refusal}", server))
    if config.doh_url is not None and urls.is_url(config.doh_url):
        refusal = egress.refusal_of_url(config.doh_url)
        if refusal is not None:
            faults.append(Fault("config.dohUrl", f"leads to {refusal}", urls.read_url(config.doh_url)[1]))
    for index, entry in enumerate(config.resolve or ()):
        for place, address in enumerate(entry.address):
            refusal = egress.refusal(address)
            if refusal is not None:
                faults.append(Fault(f"config.resolve.{index}.address.{place}", f"is {refusal}", address))
