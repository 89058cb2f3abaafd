"""TLS: whose certificates are trusted, and that HTTP/2 is spoken where it is asked for."""

import datetime
import ipaddress
import ssl
from collections.abc import Iterator
from pathlib import Path

import certifi
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tasks_server.domain.attempt import OutcomeKind
from tasks_server.domain.request import TaskConfig
from tasks_server.engine.http.certificates import ca_file
from tests.engine.http.driver import Driver
from tests.engine.http.target import Connection, Received, Target


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PEM file with a key and a certificate for 127.0.0.1 that is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "target")])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + built.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture
def context(certificate: Path) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(certificate)
    return made


@pytest.fixture
def secure(context: ssl.SSLContext) -> Iterator[Target]:
    with Target(tls=context) as running:
        yield running


def test_a_certificate_of_a_trusted_authority_is_taken(secure: Target, certificate: Path) -> None:
    with Driver(authorities=str(certificate)) as http:
        assert http.get(secure.url("/a"), "POST", data="x").response == b"ok"
        assert http.get(secure.url("/b")).kind is OutcomeKind.SUCCESS
    assert [(received.path, received.connection) for received in secure.received] == [("/a", 1), ("/b", 1)]


def test_any_other_certificate_is_refused(secure: Target) -> None:
    with Driver() as http:
        outcome = http.get(secure.url("/secret"))
    assert (outcome.kind, outcome.status_code) == (OutcomeKind.CONNECTION, 0)
    assert outcome.error is not None
    assert outcome.error.startswith(f"the certificate of 127.0.0.1:{secure.port} was refused: ")
    assert not secure.received


def test_a_certificate_for_another_host_is_refused(secure: Target, certificate: Path) -> None:
    with Driver(authorities=str(certificate)) as http:
        outcome = http.get(secure.url(host="localhost"))
    assert outcome.error is not None
    assert outcome.error.startswith(f"the certificate of localhost:{secure.port} was refused: ")


def test_a_target_that_speaks_no_tls_fails_in_plain_words(http: Driver, target: Target) -> None:
    outcome = http.get(target.url().replace("http:", "https:"), timeout_ms=500)
    assert outcome.kind in (OutcomeKind.CONNECTION, OutcomeKind.TIMEOUT)
    assert outcome.error is not None
    assert f"127.0.0.1:{target.port}" in outcome.error


def test_http_2_is_agreed_on_over_tls(context: ssl.SSLContext, certificate: Path) -> None:
    context.set_alpn_protocols(["h2", "http/1.1"])
    agreed: list[str | None] = []

    async def note(connection: Connection, _request: Received) -> None:
        agreed.append(connection.writer.get_extra_info("ssl_object").selected_alpn_protocol())
        await connection.close()

    with Target(tls=context) as target, Driver(authorities=str(certificate)) as http:
        # The preface of HTTP/2 reads as a request for "*".
        target.scripts |= {"*": note, "/": note}
        http.get(target.url(), config=TaskConfig(http_version="2"))
        http.get(target.url())
    assert agreed == ["h2", "http/1.1"]


def test_the_systems_bundle_comes_before_certifis(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.pem"
    missing = str(tmp_path / "missing.pem")
    assert ca_file([missing, str(bundle)]) == certifi.where()
    bundle.write_text("")
    assert ca_file([missing, str(bundle)]) == str(bundle)
    assert Path(ca_file()).is_file()
