"""What the egress policy refuses gets no connection, however it is written, named, redirected or led around."""

import socket
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pycurl
import pytest

from tasks_server.domain import urls
from tasks_server.domain.addresses import literal
from tasks_server.domain.attempt import Outcome, OutcomeKind
from tasks_server.domain.egress import Egress
from tasks_server.domain.options import Proxy, Resolve
from tasks_server.domain.request import TaskConfig
from tasks_server.engine.http.egress import Gate
from tasks_server.engine.http.names import LookedUp, Names, Wanted
from tests.engine.http.driver import Driver
from tests.engine.http.hostile_urls import HOSTILE_URLS, REBINDING
from tests.engine.http.proxies import SocksProxy
from tests.engine.http.target import Target, answer, redirect

PUBLIC = Egress.parse("public", "", "")


class Listener:
    """Counts the connections to one port of 127.0.0.1, 127.0.0.2 and ::1. They are taken up and closed at once."""

    def __init__(self) -> None:
        first = socket.create_server(("127.0.0.1", 0))
        self.port = first.getsockname()[1]
        self._sockets = [first, socket.create_server(("127.0.0.2", self.port))]
        self._sockets.append(socket.create_server(("::1", self.port), family=socket.AF_INET6))
        self._counts = [0, 0, 0]
        self._threads = [threading.Thread(target=self._count, args=(index,)) for index in range(3)]
        for thread in self._threads:
            thread.start()

    def _count(self, index: int) -> None:
        while True:
            accepted, _ = self._sockets[index].accept()
            with accepted:
                accepted.settimeout(20)
                if accepted.recv(3) == b"end":
                    return
            self._counts[index] += 1

    def end(self) -> int:
        """How many connections there were but ours. They are taken up in order, so that ours is the last."""
        for each in self._sockets:
            with socket.create_connection(each.getsockname()[:2]) as ours:
                ours.sendall(b"end")
        for thread in self._threads:
            thread.join(20)
        for each in self._sockets:
            each.close()
        return sum(self._counts)


@pytest.fixture
def http() -> Iterator[Driver]:
    with Driver(egress=PUBLIC) as running:
        yield running


def to(name: str, url: str, *addresses: str) -> Resolve:
    parts = urlsplit(url)
    return Resolve(name, parts.port or {"http": 80, "https": 443}[parts.scheme], list(addresses))


def driver(policy: str, allow: str = "", deny: str = "") -> Driver:
    return Driver(egress=Egress.parse(policy, allow, deny))


def assert_blocked(outcome: Outcome, *words: str) -> None:
    assert (outcome.kind, outcome.status_code, outcome.response) == (OutcomeKind.BLOCKED, 403, None), outcome.error
    for word in words:
        assert word in (outcome.error or "")


def kept_at_home(url: str) -> TaskConfig:
    """Gives every name loopback addresses, so that none is looked up, and makes sure that no address lies outside."""
    try:
        _, target = urls.read_url(url)
    except ValueError:
        return TaskConfig()
    host, _, port = target.rpartition(":")
    address = literal(host)
    if address is not None:
        assert PUBLIC.refusal(address), f"{url} is not hostile"
        return TaskConfig()
    return TaskConfig(resolve=[Resolve(host, int(port), ["127.0.0.1", "::1"])])


def test_no_hostile_url_connects(http: Driver) -> None:
    listener = Listener()
    given = [url.replace("{port}", str(listener.port)) for url in HOSTILE_URLS]
    assert len(set(given)) > 250
    wrong = {}
    for url in given:
        outcome = http.get(url, config=kept_at_home(url))
        if outcome.kind not in (OutcomeKind.BLOCKED, OutcomeKind.UNSENDABLE):
            wrong[url] = outcome
    assert listener.end() == 0
    assert wrong == {}


@pytest.mark.parametrize("addresses", REBINDING, ids=" ".join)
def test_no_address_of_a_name_that_changed_connects(http: Driver, addresses: list[str]) -> None:
    listener = Listener()
    url = f"http://shop.test:{listener.port}/"
    outcome = http.get(url, config=TaskConfig(resolve=[to("shop.test", url, *addresses)]))
    assert listener.end() == 0
    assert_blocked(outcome, "shop.test is a")
    assert not any(address in (outcome.error or "") for address in addresses), "tells what the name's address is"


def test_a_name_that_moves_to_a_refused_address_is_refused_from_then_on(target: Target) -> None:
    url = target.url(host="shop.test")
    with driver("public", allow="127.0.0.1") as http:
        before = http.get(url, config=TaskConfig(resolve=[to("shop.test", url, "127.0.0.1")]))
        after = http.get(url, config=TaskConfig(resolve=[to("shop.test", url, "127.0.0.2")]))
    assert before.kind is OutcomeKind.SUCCESS
    assert_blocked(after, "shop.test", "loopback")
    assert target.opened == 1


def test_refused_addresses_are_skipped_where_a_name_has_others(target: Target) -> None:
    url = target.url(host="shop.test")
    resolve = [to("shop.test", url, "127.0.0.2", "::1", "169.254.169.254", "127.0.0.1")]
    with driver("public", allow="127.0.0.1") as http:
        assert http.get(url, config=TaskConfig(resolve=resolve)).kind is OutcomeKind.SUCCESS
    assert target.opened == 1


def test_a_failure_of_an_allowed_address_is_no_refusal() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # not listening
        url = f"http://shop.test:{taken.getsockname()[1]}/"
        with driver("public", allow="127.0.0.1") as http:
            outcome = http.get(url, config=TaskConfig(resolve=[to("shop.test", url, "127.0.0.1", "::1")]))
    assert (outcome.kind, outcome.status_code) == (OutcomeKind.CONNECTION, 0)


@pytest.mark.parametrize(
    "where",
    ["http://127.0.0.2:{port}/", "http://0x7f.2:{port}/", "//127.0.0.2:{port}/", "http://u:p@127.0.0.2:{port}/"],
)
def test_redirects_are_judged(target: Target, where: str) -> None:
    listener = Listener()
    target.scripts["/"] = redirect(302, where.replace("{port}", str(listener.port)))
    with driver("public", allow="127.0.0.1") as http:
        outcome = http.get(target.url())
    assert listener.end() == 0
    assert_blocked(outcome, "loopback")
    assert len(target.received) == 1


@pytest.mark.parametrize(
    "where", ["http://denied.test", "http://u@denied.test", "http://a@b@DENIED.test", "//a.denied.test."]
)
def test_a_denied_name_cannot_be_reached_by_a_redirect(target: Target, where: str) -> None:
    target.scripts["/"] = redirect(307, f"{where}:{target.port}/secret")
    url = target.url()
    names = [to(name, url, "127.0.0.1") for name in ("denied.test", "a.denied.test", "a.denied.test.")]
    with driver("open", deny="denied.test") as http:
        assert_blocked(http.get(url, config=TaskConfig(resolve=names)))
    assert len(target.received) == 1


@pytest.mark.parametrize(
    "where", ["http:/denied.test", "http:denied.test", "http:///denied.test", "http://b\\@denied.test"]
)
def test_a_redirect_that_can_be_read_in_two_ways_is_not_followed(target: Target, where: str) -> None:
    target.scripts["/"] = redirect(307, f"{where}:{target.port}/secret")
    url = target.url()
    with driver("open", deny="denied.test") as http:
        outcome = http.get(url, config=TaskConfig(resolve=[to("denied.test", url, "127.0.0.1")]))
    assert (outcome.kind, outcome.error) == (
        OutcomeKind.CONNECTION, "a redirect could not be followed: the URL is malformed",
    )  # fmt: skip
    assert len(target.received) == 1


def test_denied_names_leave_other_redirects_alone(target: Target) -> None:
    target.scripts |= {"/": redirect(302, "/b"), "/b": redirect(302, "c"), "/c": redirect(302, target.url("/d"))}
    with driver("open", deny="denied.test") as http:
        assert http.get(target.url()).kind is OutcomeKind.SUCCESS
    assert [request.path for request in target.received] == ["/", "/b", "/c", "/d"]


def test_trust_in_a_name_is_not_inherited_by_redirects() -> None:
    gate = Gate(Egress.parse("public", "corp.test", ""))
    address = SimpleNamespace(family=socket.AF_INET, socktype=socket.SOCK_STREAM, protocol=0, addr=("10.0.0.1", 80))
    gate.begin("http://corp.test/")
    with gate.open_socket(0, address) as given:
        assert given.fileno() > 0
    gate.begin("http://other.test/")
    assert gate.open_socket(0, address) == pycurl.SOCKET_BAD
    assert gate.refusal == "other.test is a private address, which the egress policy (public) refuses"


def test_a_name_that_the_task_itself_resolves_is_not_trusted(target: Target) -> None:
    url = target.url(host="corp.test")
    with driver("public", allow="corp.test") as http:
        assert_blocked(http.get(url, config=TaskConfig(resolve=[to("corp.test", url, "127.0.0.1")])))
    assert target.opened == 0


def test_a_trusted_name_is_called_at_its_private_address(target: Target) -> None:
    with driver("public", allow="localhost") as http:
        assert http.get(target.url(host="localhost")).kind is OutcomeKind.SUCCESS


@pytest.mark.parametrize("protocol", ["http", "https", "socks4", "socks5", "socks5h"])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "0x7f.1", "localhost"])
def test_a_refused_proxy_is_not_connected(http: Driver, protocol: str, host: str) -> None:
    listener = Listener()
    config = TaskConfig(proxy=Proxy(protocol, host, listener.port))  # type: ignore[arg-type]  # one of the protocols
    outcome = http.get("http://8.8.8.8/", config=config)
    assert listener.end() == 0
    assert_blocked(outcome)


def test_a_trusted_target_lends_no_trust_to_a_proxy() -> None:
    listener = Listener()
    with driver("public", allow="corp.test") as http:
        config = TaskConfig(proxy=Proxy("http", "127.0.0.1", listener.port))
        assert_blocked(http.get("http://corp.test/", config=config), "127.0.0.1 is a loopback address")
    assert listener.end() == 0


@pytest.mark.parametrize("where", ["http://169.254.169.254/", "http://metadata.google.internal/", "http://u@10.0.0.1/"])
def test_what_a_proxy_is_asked_for_is_judged_too(target: Target, where: str) -> None:
    target.scripts["http://8.8.8.8/"] = redirect(302, where)
    with driver("public", allow="127.0.0.1") as http:
        outcome = http.get("http://8.8.8.8/", config=TaskConfig(proxy=Proxy("http", "127.0.0.1", target.port)))
    assert_blocked(outcome)
    assert [request.path for request in target.received] == ["http://8.8.8.8/"]


@pytest.fixture
def system_names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """What the system says of some names."""
    known = {"inside.test": ["10.0.0.7"], "shop.test": ["10.0.0.7", "127.0.0.1"], "corp.test": ["10.0.0.7"]}
    ask = socket.getaddrinfo

    def asked(host: Any, port: Any, *arguments: Any, **more: Any) -> Any:
        if host not in known:
            return ask(host, port, *arguments, **more)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in known[host]]

    monkeypatch.setattr(socket, "getaddrinfo", asked)
    return known


@pytest.mark.parametrize("protocol", ["socks4", "socks5"])
@pytest.mark.usefixtures("system_names")
def test_no_proxy_is_told_an_address_that_is_refused(target: Target, protocol: str) -> None:
    target.scripts["/away"] = redirect(302, "http://inside.test/")
    with SocksProxy() as proxy, driver("public", allow="127.0.0.1") as http:
        config = TaskConfig(proxy=Proxy(protocol, "127.0.0.1", proxy.port))  # type: ignore[arg-type]  # one of the protocols
        assert_blocked(http.get("http://inside.test/", config=config), "inside.test is a private address")
        assert proxy.asked == []
        assert http.get(target.url(host="shop.test"), config=config).response == b"ok"
        assert_blocked(http.get(target.url("/away", host="shop.test"), config=config))
        assert {address for _, address, _ in proxy.asked} == {"127.0.0.1"}


@pytest.mark.parametrize("by_system", [True, False])
def test_a_proxy_is_told_the_private_address_of_a_name_that_the_operator_trusts(by_system: bool) -> None:
    names = Names(egress=Egress.parse("public", "corp.test", ""), wake=lambda: None, monotonic=lambda: 0.0)
    wanted = [Wanted("corp.test", frozenset({80}), is_next=False)]
    names.tell(LookedUp(1, wanted, {"corp.test": ("10.0.0.7",)}, by_system=by_system))
    (found,) = names.take_news()
    assert (found.failure is None) is by_system
    assert found.addresses == ({"corp.test": ("10.0.0.7",)} if by_system else {})


@pytest.mark.parametrize("policy", ["open", "private", "public"])
@pytest.mark.parametrize("url", ["http://169.254.169.254/latest", "http://[fd00:ec2::254]/", "http://metadata.goog/"])
def test_metadata_services_are_out_of_reach_of_every_policy(policy: str, url: str) -> None:
    with driver(policy) as http:
        assert_blocked(http.get(url), "metadata")
        named = http.get(
            "http://shop.test/", config=TaskConfig(resolve=[to("shop.test", "http://a", "169.254.169.254")])
        )
    assert_blocked(named, "metadata")


@pytest.mark.parametrize("version", ["1.0", "1.1", "2", "2-prior-knowledge", "3"])
def test_every_version_of_http_is_judged(http: Driver, version: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        url = f"https://shop.test:{udp.getsockname()[1]}/"
        config = TaskConfig(http_version=version, resolve=[to("shop.test", url, "127.0.0.1")])  # type: ignore[arg-type]  # one of the versions
        assert_blocked(http.get(url, config=config))
        udp.setblocking(False)
        with pytest.raises(BlockingIOError):
            udp.recv(1)


def test_a_blocked_call_leaves_the_next_one_alone(target: Target) -> None:
    with driver("public", allow="127.0.0.1") as http:
        for _ in range(3):
            assert_blocked(http.get(f"http://127.0.0.2:{target.port}/"))
            assert http.get(target.url()).kind is OutcomeKind.SUCCESS
    assert target.opened == 1, "connections are used again"


def test_other_families_are_refused() -> None:
    gate = Gate(Egress())
    gate.begin("http://shop.test/")
    unix = SimpleNamespace(family=socket.AF_UNIX, socktype=socket.SOCK_STREAM, protocol=0, addr=b"/run/docker.sock")
    assert gate.open_socket(0, unix) == pycurl.SOCKET_BAD
    assert gate.refusal == "the connection would not go to an IP address"


def test_a_fault_of_the_check_lets_nothing_through() -> None:
    gate = Gate(PUBLIC)
    gate.begin("http://shop.test/")
    assert gate.open_socket(0, SimpleNamespace(family=socket.AF_INET, addr=())) == pycurl.SOCKET_BAD
    assert "could not be judged" in (gate.refusal or "")


def test_libcurls_own_calls_of_dns_over_https_do_not_ask_for_sockets() -> None:
    """Why such resolvers have to be judged by their URL. Should this fail, libcurl has changed and they need not."""
    listener = Listener()
    asked: list[object] = []
    curl = pycurl.Curl()
    curl.setopt(pycurl.OPENSOCKETFUNCTION, lambda *given: asked.append(given) or pycurl.SOCKET_BAD)
    curl.setopt(pycurl.DOH_URL, f"https://127.0.0.1:{listener.port}/dns-query")
    curl.setopt(pycurl.URL, "http://shop.test/")
    with pytest.raises(pycurl.error):
        curl.perform()
    curl.close()
    assert listener.end() > 0
    assert asked == []


def test_private_calls_the_network_but_not_this_machine(target: Target) -> None:
    with driver("private") as http:
        assert_blocked(http.get(target.url()), "127.0.0.1 is a loopback address", "private")
        assert_blocked(http.get(target.url(host="localhost")), "localhost is a name of this machine")
    assert target.opened == 0


def test_open_calls_this_machine(target: Target) -> None:
    target.scripts["/"] = answer(200, b"here")
    with driver("open") as http:
        assert http.get(target.url()).response == b"here"
