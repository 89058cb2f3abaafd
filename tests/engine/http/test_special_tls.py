"""Options of TLS, seen at a target that speaks it."""

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks_server.domain.attempt import Outcome, OutcomeKind
from tasks_server.domain.options import Certificate, TlsVersion
from tasks_server.domain.request import TaskConfig
from tests.engine.http.authority import Authority, Identity, base64_of, server_context
from tests.engine.http.driver import Driver
from tests.engine.http.target import Connection, Received, Target, answer


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def clients() -> Authority:
    return Authority("authority of clients")


@pytest.fixture
def server(authority: Authority) -> Identity:
    return authority.issue("server", "127.0.0.1", "localhost")


@pytest.fixture
def secure(server: Identity, tmp_path: Path) -> Iterator[Target]:
    with Target(tls=server_context(server, tmp_path)) as running:
        yield running


@pytest.fixture
def mutual(server: Identity, clients: Authority, tmp_path: Path) -> Iterator[Target]:
    """Asks for a client certificate, and answers with whose it got."""

    async def whose(connection: Connection, _request: Received) -> None:
        shown = connection.writer.get_extra_info("peercert")
        name = "".join(value for part in shown["subject"] for key, value in part if key == "commonName")
        await connection.send(answer(200, name.encode()))

    with Target(tls=server_context(server, tmp_path, clients.pem), scripts={"/": whose}) as running:
        yield running


def said(outcome: Outcome) -> str:
    assert outcome.error is not None
    return outcome.error


@pytest.mark.option("insecure")
def test_insecure_takes_any_certificate_and_others_still_do_not(http: Driver, secure: Target) -> None:
    assert http.get(secure.url(), config=TaskConfig(insecure=True)).response == b"ok"
    assert "certificate" in said(http.get(secure.url()))
    assert len(secure.received) == 1


@pytest.mark.option("ca")
def test_an_authority_of_the_task(http: Driver, secure: Target, authority: Authority) -> None:
    other = Authority("another").pem
    for content in (authority.pem, authority.der, other + authority.pem):
        assert http.get(secure.url(), config=TaskConfig(ca=base64_of(content))).response == b"ok"
    refused = http.get(secure.url(), config=TaskConfig(ca=base64_of(other)))
    assert (refused.kind, refused.status_code) == (OutcomeKind.CONNECTION, 0)
    assert "was refused" in said(refused)
    assert "certificate" in said(http.get(secure.url()))
    assert len(secure.received) == 3


def test_what_is_no_authority_is_not_tried_again(http: Driver, secure: Target) -> None:
    outcome = http.get(secure.url(), config=TaskConfig(ca=base64_of(b"-----BEGIN nothing of the kind")))
    assert outcome.kind is OutcomeKind.UNSENDABLE
    assert said(outcome).endswith("ca holds no certificate in PEM or DER form")
    assert secure.opened == 0


@pytest.mark.option("cert", "key", "certType", "keyType")
@pytest.mark.parametrize("form", ["pem", "one pem", "locked pem", "der", "p12", "chain"])
def test_a_client_certificate(
    http: Driver, mutual: Target, authority: Authority, clients: Authority, form: str
) -> None:
    between = Authority("between", above=clients)
    one = between.issue("shop", chain=True) if form == "chain" else clients.issue("shop")
    ca = base64_of(authority.pem)
    pem, key = base64_of(one.pem), base64_of(one.key())
    configs = {
        "pem": TaskConfig(ca=ca, cert=Certificate(pem), key=key),
        "chain": TaskConfig(ca=ca, cert=Certificate(pem), key=key),
        "one pem": TaskConfig(ca=ca, cert=Certificate(base64_of(one.key() + one.pem))),
        "locked pem": TaskConfig(ca=ca, cert=Certificate(pem, "open"), key=base64_of(one.key(password="open"))),
        "der": TaskConfig(
            ca=ca, cert=Certificate(base64_of(one.der)), cert_type="DER", key=base64_of(one.key_der), key_type="DER"
        ),
        "p12": TaskConfig(ca=ca, cert=Certificate(base64_of(one.p12("open")), "open"), cert_type="P12"),
    }
    assert http.get(mutual.url(), config=configs[form]).response == b"shop"


def test_a_target_that_wants_a_client_certificate_gets_none(http: Driver, mutual: Target, authority: Authority) -> None:
    outcome = http.get(mutual.url(), config=TaskConfig(ca=base64_of(authority.pem), tls_max_version="1.2"))
    assert (outcome.kind, outcome.status_code) == (OutcomeKind.CONNECTION, 0)
    assert said(outcome).startswith(f"TLS failed with 127.0.0.1:{mutual.port}: ")


@pytest.mark.parametrize("fault", ["wrong password", "no certificate", "key of another"])
def test_a_client_certificate_that_cannot_be_used_is_not_tried_again(
    http: Driver, mutual: Target, authority: Authority, clients: Authority, fault: str
) -> None:
    ca, one = base64_of(authority.pem), clients.issue("shop")
    configs = {
        "wrong password": TaskConfig(ca=ca, cert=Certificate(base64_of(one.p12("open")), "shut"), cert_type="P12"),
        "no certificate": TaskConfig(
            ca=ca, cert=Certificate(base64_of(b"-----BEGIN nothing")), key=base64_of(one.key())
        ),
        "key of another": TaskConfig(
            ca=ca, cert=Certificate(base64_of(one.pem)), key=base64_of(clients.issue("other").key())
        ),
    }
    outcome = http.get(mutual.url(), config=configs[fault])
    assert outcome.kind is OutcomeKind.UNSENDABLE
    assert "certificate" in said(outcome) or "private key" in said(outcome)
    assert "shut" not in said(outcome)


def test_connections_are_shared_within_an_identity_only(
    http: Driver, mutual: Target, authority: Authority, clients: Authority
) -> None:
    ca = base64_of(authority.pem)
    first, second = (
        TaskConfig(ca=ca, cert=Certificate(base64_of(one.pem)), key=base64_of(one.key()))
        for one in (clients.issue("first"), clients.issue("second"))
    )
    without = TaskConfig(ca=ca)
    # The certificate is no secret; without its key nobody may ride on a connection that was made with it.
    stolen = TaskConfig(ca=ca, cert=first.cert, key=second.key)
    assert [http.get(mutual.url(), config=one).response for one in (first, second, first, without, stolen)] == [
        *(b"first", b"second", b"first"), None, None,
    ]  # fmt: skip
    assert [received.connection for received in mutual.received] == [1, 2, 1]


def test_an_insecure_connection_is_not_used_by_those_who_check(
    http: Driver, secure: Target, authority: Authority
) -> None:
    trusting = TaskConfig(ca=base64_of(authority.pem))
    for config in (TaskConfig(insecure=True), trusting, TaskConfig(insecure=True), trusting):
        assert http.get(secure.url(), config=config).response == b"ok"
    assert http.get(secure.url()).kind is OutcomeKind.CONNECTION
    assert [received.connection for received in secure.received] == [1, 2, 1, 2]


@pytest.mark.option("tlsVersion", "tlsMaxVersion")
@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2", "1.3"])
def test_versions_of_tls(http: Driver, server: Identity, tmp_path: Path, version: str) -> None:
    spoken: list[str | None] = []

    async def note(connection: Connection, _request: Received) -> None:
        spoken.append(connection.writer.get_extra_info("ssl_object").version())
        await connection.send(answer())

    context = server_context(server, tmp_path)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1 is deprecated"):
        context.minimum_version = ssl.TLSVersion.TLSv1
    with Target(tls=context, scripts={"/": note}) as target:
        config = TaskConfig(insecure=True, tls_max_version=version)  # type: ignore[arg-type]  # one of the versions
        assert http.get(target.url(), config=config).response == b"ok"
    assert spoken == [{"1.0": "TLSv1"}.get(version, f"TLSv{version}")]

    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with Target(tls=context) as target:
        config = TaskConfig(insecure=True, tls_version=version)  # type: ignore[arg-type]  # one of the versions
        outcome = http.get(target.url(), config=config)
        assert outcome.response == (None if version == "1.3" else b"ok")


@pytest.mark.option("certStatus")
def test_a_target_without_proof_that_its_certificate_stands(http: Driver, secure: Target, authority: Authority) -> None:
    ca = base64_of(authority.pem)
    outcome = http.get(secure.url(), config=TaskConfig(ca=ca, cert_status=True))
    assert outcome.kind is OutcomeKind.CONNECTION
    assert "OCSP" in said(outcome)
    assert not secure.received
    assert http.get(secure.url(), config=TaskConfig(ca=ca)).response == b"ok"


@pytest.mark.option("sessionId")
@pytest.mark.parametrize("session_id", [True, False])
def test_tls_sessions_are_resumed_unless_the_task_says_no(http: Driver, server: Identity, tmp_path: Path,
                                                          session_id: bool) -> None:  # fmt: skip
    resumed: list[bool] = []

    async def note(connection: Connection, _request: Received) -> None:
        resumed.append(connection.writer.get_extra_info("ssl_object").session_reused)
        await connection.send(answer(200, b"ok", Connection="close"))
        await connection.close()

    context = server_context(server, tmp_path)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with Target(tls=context, scripts={"/": note}) as target:
        for _ in range(2):
            config = TaskConfig(insecure=True, session_id=session_id)
            assert http.get(target.url(), config=config).response == b"ok"
    assert resumed == [False, session_id]


@pytest.mark.option("hsts")
def test_hosts_that_want_https_only(http: Driver, secure: Target, authority: Authority) -> None:
    plain = f"http://localhost:{secure.port}/next"
    secure.scripts["/"] = answer(302, b"", Location=plain, Strict_Transport_Security="max-age=1000")
    ca = base64_of(authority.pem)
    for hsts in (True, base64_of(b'localhost "unlimited"'), base64_of(b'.localhost "20901231 00:00:00"')):
        assert http.get(secure.url(host="localhost"), config=TaskConfig(ca=ca, hsts=hsts)).response == b"ok"
    known = base64_of(b'localhost "20901231 00:00:00"')
    assert http.get(plain, config=TaskConfig(ca=ca, hsts=known)).response == b"ok"
    assert len(secure.received) == 7
    outdated = base64_of(b'localhost "20010101 00:00:00"')
    for config in (TaskConfig(ca=ca), TaskConfig(ca=ca, hsts=False), TaskConfig(ca=ca, hsts=outdated)):
        assert http.get(plain, config=config).kind is OutcomeKind.CONNECTION
    assert len(secure.received) == 7


class TestPaths:
    @pytest.fixture
    def folder(self, tmp_path: Path, authority: Authority) -> Path:
        made = tmp_path / "certificates"
        (made / "shop").mkdir(parents=True)
        (made / "shop" / "ca.pem").write_bytes(authority.pem)
        (made / "link.pem").symlink_to(made / "shop" / "ca.pem")
        outside = tmp_path / "outside.pem"
        outside.write_bytes(authority.pem)
        (made / "escape.pem").symlink_to(outside)
        (made / "away").symlink_to(tmp_path)
        return made

    def test_files_below_the_folder_are_read(self, folder: Path, secure: Target) -> None:
        with Driver(certificates_dir=folder) as http:
            for path in ("shop/ca.pem", "link.pem", str(folder / "shop" / "ca.pem"), "shop/../shop/ca.pem"):
                assert http.get(secure.url(), config=TaskConfig(ca=path)).response == b"ok"

    @pytest.mark.parametrize(
        "path",
        ["../outside.pem", "escape.pem", "away/outside.pem", "missing.pem", "shop", "a\x00b", "{outside}", "/dev/zero"],
    )
    def test_nothing_else_is(self, folder: Path, secure: Target, path: str) -> None:
        with Driver(certificates_dir=folder) as http:
            given = path.replace("{outside}", str(folder.parent / "outside.pem"))
            outcome = http.get(secure.url(), config=TaskConfig(ca=given))
        assert outcome.kind is OutcomeKind.UNSENDABLE
        reason = "ca is not base64 of PEM, DER or P12, and no file below CERTIFICATES_DIR has this path"
        assert said(outcome).endswith(reason)
        assert secure.opened == 0

    def test_a_renewed_file_makes_connections_of_its_own(self, folder: Path, secure: Target) -> None:
        with Driver(certificates_dir=folder) as http:
            config = TaskConfig(ca="shop/ca.pem")
            assert http.get(secure.url(), config=config).response == b"ok"
            (folder / "shop" / "ca.pem").write_bytes(Authority("another").pem)
            assert http.get(secure.url(), config=config).kind is OutcomeKind.CONNECTION

    def test_without_a_folder_there_are_no_paths(self, http: Driver, secure: Target) -> None:
        outcome = http.get(secure.url(), config=TaskConfig(ca="shop/ca.pem"))
        assert outcome.kind is OutcomeKind.UNSENDABLE
        assert "CERTIFICATES_DIR" in said(outcome)


@pytest.mark.parametrize("versions", [("1.2", "1.2"), ("1.1", "1.2")], ids=["as it is", "old versions, too"])
def test_no_key_exchange_is_offered_that_the_target_can_make_dear(
    http: Driver, server: Identity, authority: Authority, tmp_path: Path, versions: tuple[TlsVersion, TlsVersion]
) -> None:
    """A prime of 10 000 bits would hold up every other call for a second."""
    context = server_context(server, tmp_path)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ALL:COMPLEMENTOFALL:@SECLEVEL=0")
    offered: list[str] = []

    async def note(connection: Connection, _request: Received) -> None:
        offered.extend(name for name, *_ in connection.writer.get_extra_info("ssl_object").shared_ciphers())
        await connection.send(answer(200, b"ok"))

    low, high = versions
    config = TaskConfig(ca=base64_of(authority.pem), tls_version=low, tls_max_version=high)
    with Target(tls=context, scripts={"/": note}) as target:
        assert http.get(target.url(), config=config).response == b"ok"
    assert any(name.startswith("ECDHE-") for name in offered)
    assert [name for name in offered if name.startswith(("DHE-", "ADH-", "EDH-"))] == []
