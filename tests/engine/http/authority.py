"""Certificates for tests: an authority of their own and what it signs, made anew for each."""

import base64
import datetime
import ipaddress
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID

_PEM, _DER = serialization.Encoding.PEM, serialization.Encoding.DER


def base64_of(content: bytes) -> str:
    return base64.b64encode(content).decode()


@dataclass
class Identity:
    """A certificate with its key, and those above it up to the authority."""

    certificate: x509.Certificate
    private: ec.EllipticCurvePrivateKey
    above: list[x509.Certificate] = field(default_factory=list)

    @property
    def pem(self) -> bytes:
        return b"".join(one.public_bytes(_PEM) for one in [self.certificate, *self.above])

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(_DER)

    def key(self, encoding: serialization.Encoding = _PEM, password: str | None = None) -> bytes:
        locked = serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption()
        return self.private.private_bytes(encoding, serialization.PrivateFormat.PKCS8, locked)

    @property
    def key_der(self) -> bytes:
        return self.key(_DER)

    def p12(self, password: str) -> bytes:
        locked = serialization.BestAvailableEncryption(password.encode())
        return pkcs12.serialize_key_and_certificates(b"client", self.private, self.certificate, self.above, locked)


class Authority:
    def __init__(self, name: str = "test authority", above: "Authority | None" = None) -> None:
        self.own = _sign(name, above.own if above else None, authority=True)

    @property
    def pem(self) -> bytes:
        return self.own.certificate.public_bytes(_PEM)

    @property
    def der(self) -> bytes:
        return self.own.der

    def issue(self, name: str, *hosts: str, chain: bool = False) -> Identity:
        made = _sign(name, self.own, hosts=hosts)
        made.above = [self.own.certificate] if chain else []
        return made


def server_context(identity: Identity, folder: Path, clients: bytes | None = None) -> ssl.SSLContext:
    """The context of a server with this identity, which asks for certificates of `clients` (PEM) when given."""
    path = folder / "server.pem"
    path.write_bytes(identity.key() + identity.pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=clients.decode())
    return context


def _sign(name: str, by: Identity | None, *, authority: bool = False, hosts: tuple[str, ...] = ()) -> Identity:
    private = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    if hosts:
        names = [_general(host) for host in hosts]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return Identity(builder.sign(by.private if by else private, hashes.SHA256()), private)


def _general(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
