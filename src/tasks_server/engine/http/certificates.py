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
from tasks_server.engine.http.errors import Unsendable

_SYSTEM_BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Alpine, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # BSD, macOS
)
_FILE_MAX_BYTES: Final = 1_048_576
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
    if directory is None:
        raise Unsendable(f"{field} is not base64 of PEM, DER or P12, and this server has no CERTIFICATES_DIR for paths")
    try:
        root = directory.resolve(strict=True)
        # What links and `..` really lead to must lie below the folder; nobody learns what exists elsewhere.
        path = (root / text).resolve(strict=True)
        if not path.is_relative_to(root) or not path.is_file() or path.stat().st_size > _FILE_MAX_BYTES:
            raise FileNotFoundError
        return path.read_bytes()
    except (OSError, ValueError, RuntimeError):
        raise Unsendable(f"{field} is not base64 of PEM, DER or P12, nor a file below CERTIFICATES_DIR") from None


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
