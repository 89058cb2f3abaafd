"""TLS as a task wants it: versions, whom to trust, which certificate to show. Certificates and keys go to libcurl as
blobs; no file is ever made of them.
"""

from pathlib import Path
from typing import Final

import msgspec
import pycurl

from tasks_server.domain.request import TaskConfig
from tasks_server.engine.certificates.derivation import FILE_ROUNDS_MAX, rounds_of
from tasks_server.engine.http.certificates import authorities, material
from tasks_server.engine.http.errors import Unsendable

_LOWEST: Final = {
    "1.0": pycurl.SSLVERSION_TLSv1_0,
    "1.1": pycurl.SSLVERSION_TLSv1_1,
    "1.2": pycurl.SSLVERSION_TLSv1_2,
    "1.3": pycurl.SSLVERSION_TLSv1_3,
}
_HIGHEST: Final = {
    "1.0": pycurl.SSLVERSION_MAX_TLSv1_0,
    "1.1": pycurl.SSLVERSION_MAX_TLSv1_1,
    "1.2": pycurl.SSLVERSION_MAX_TLSv1_2,
    "1.3": pycurl.SSLVERSION_MAX_TLSv1_3,
}
_OLD: Final = frozenset({"1.0", "1.1"})
CIPHERS: Final = "DEFAULT:!kDHE"
"""Without finite-field Diffie-Hellman, as browsers are: a target may choose a prime of 10 000 bits, and then no other
call goes on for a second."""
_CIPHERS_OF_OLD: Final = f"{CIPHERS}:@SECLEVEL=0"
"""OpenSSL 3 speaks TLS 1.0 and 1.1 only at this level. It is for those who ask for a version that low."""


class Material(msgspec.Struct, frozen=True):
    """The certificates and the key of a task, read."""

    ca: bytes | None = None
    cert: bytes | None = None
    key: bytes | None = None


def read_material(config: TaskConfig, directory: Path | None) -> Material:
    """Raises `Unsendable` for what is neither base64 nor a file below `directory`, for a `ca` without any, and for a
    key that is too dear to open.
    """
    ca = None if config.ca is None else authorities(material("ca", config.ca, directory))
    cert = None if config.cert is None else material("cert", config.cert.value, directory)
    key = None if config.key is None else material("key", config.key, directory)
    for field, content in (("cert", cert), ("key", key)):
        if content is not None and rounds_of(content) > FILE_ROUNDS_MAX:
            raise Unsendable(f"{field} asks for more than {FILE_ROUNDS_MAX} rounds to make a key of its password")
    if cert is not None and key is None and config.cert_type == "PEM":
        key = cert  # one file for both
    return Material(ca, cert, key)


def set_tls(curl: "pycurl.Curl", config: TaskConfig, has: Material) -> None:
    setopt = curl.setopt
    low, high = config.tls_version, config.tls_max_version
    if low is not None or high is not None:
        lowest = low or ("1.0" if high in _OLD else "1.2")
        setopt(pycurl.SSLVERSION, _LOWEST[lowest] | (_HIGHEST[high] if high else 0))
        if low in _OLD or high in _OLD:
            setopt(pycurl.SSL_CIPHER_LIST, _CIPHERS_OF_OLD)
    if config.insecure:
        setopt(pycurl.SSL_VERIFYPEER, 0)
        setopt(pycurl.SSL_VERIFYHOST, 0)
    if config.cert_status:
        setopt(pycurl.SSL_VERIFYSTATUS, 1)
    if not config.session_id:
        setopt(pycurl.SSL_SESSIONID_CACHE, 0)
    if has.ca is not None:
        setopt(pycurl.CAINFO_BLOB, has.ca)
        setopt(pycurl.PROXY_CAINFO_BLOB, has.ca)
    if has.cert is not None:
        setopt(pycurl.SSLCERT_BLOB, has.cert)
        setopt(pycurl.SSLCERTTYPE, config.cert_type)
        if config.cert is not None and config.cert.password is not None:
            setopt(pycurl.KEYPASSWD, config.cert.password.encode())
    if has.key is not None:
        setopt(pycurl.SSLKEY_BLOB, has.key)
        setopt(pycurl.SSLKEYTYPE, config.key_type)
