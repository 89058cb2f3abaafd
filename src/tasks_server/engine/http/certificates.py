"""Certificates and keys: which authorities are trusted when a task names none of its own, and how what a task names
becomes bytes for libcurl. Files are read here and nowhere else; nothing is ever written.
"""

import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import certifi
from cryptography import x509

from tasks_server.domain.rules_options import file_or_path
from tasks_server.engine.certificates.paths import file_below, path_fault
from tasks_server.engine.http.errors import Unsendable

_SYSTEM_BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Alpine, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # BSD, macOS
)
_PEM_BEGIN: Final = b"-----BEGIN "


def ca_file(bundles: Sequence[str] = _SYSTEM_BUNDLES) -> str:
    """The system's bundle, so that the operator's own authorities count, else the one that comes with certifi.

    A libcurl from a wheel looks only where the machine that built it kept its bundle.
    """
    return next((bundle for bundle in bundles if Path(bundle).is_file()), certifi.where())


def material(field: str, text: str, directory: Path | None) -> bytes:
    """The bytes that `text` is base64 of, or those of the file that it names below `directory`. Raises `Unsendable`."""
    content = file_or_path(text)
    if content is not None:
        return content
    if (fault := path_fault(directory, text)) is not None or directory is None:
        raise Unsendable(f"{field} is not base64 of PEM, DER or P12, and {fault}")
    try:
        return file_below(directory, text).read_bytes()
    except OSError:
        raise Unsendable(f"the file of {field} cannot be read") from None


def authorities(content: bytes) -> bytes:
    """Certificates of authorities as PEM. Raises `Unsendable` when these bytes hold none."""
    try:
        if _PEM_BEGIN in content:
            x509.load_pem_x509_certificates(content)
            return content
        x509.load_der_x509_certificate(content)
    except ValueError:
        raise Unsendable("ca holds no certificate in PEM or DER form") from None
    return ssl.DER_cert_to_PEM_cert(content).encode()
