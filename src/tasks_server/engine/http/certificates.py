"""Which certificates of authorities are trusted when a task names none of its own."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import certifi

_SYSTEM_BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Alpine, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # BSD, macOS
)


def ca_file(bundles: Sequence[str] = _SYSTEM_BUNDLES) -> str:
    """The system's bundle, so that the operator's own authorities count, else the one that comes with certifi.

    A libcurl from a wheel looks only where the machine that built it kept its bundle.
    """
    return next((bundle for bundle in bundles if Path(bundle).is_file()), certifi.where())
