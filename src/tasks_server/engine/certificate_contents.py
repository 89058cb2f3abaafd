"""What is in certificates and keys that tasks bring as base64: asked when a task is registered, so that one that could
never be sent is refused there. cryptography is loaded with the first such task.

Where it knows less than OpenSSL, which has the last word when the task is sent, nothing is refused.
"""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from tasks_server.domain.errors import Fault
from tasks_server.domain.request import TaskConfig
from tasks_server.domain.rules_options import file_or_path
from tasks_server.engine.key_derivation import ROUNDS_MAX, is_too_dear

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

_PEM_BEGIN: Final = b"-----BEGIN "
_PEM_KEY: Final = re.compile(rb"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.*?-----END \1-----", re.DOTALL)
_TOO_DEAR: Final = f"asks for more than {ROUNDS_MAX} rounds to make a key of its password"


def certificate_faults(config: TaskConfig) -> list[Fault]:
    """All that is wrong with `ca`, `cert` and `key` of a configuration, as far as they are not paths."""
    faults: list[Fault] = []
    if config.ca is not None and (content := file_or_path(config.ca)) is not None and not _certificates(content):
        faults.append(Fault("config.ca", "holds no certificate in PEM or DER form"))
    content = None if config.cert is None else file_or_path(config.cert.value)
    password = None if config.cert is None or config.cert.password is None else config.cert.password.encode()
    if content is not None and config.cert_type == "P12":
        faults += _p12_faults(content, password)
        return faults
    shown: list[Certificate] = []
    if content is not None:
        is_fitting = (config.cert_type == "PEM") == (_PEM_BEGIN in content)
        shown = _certificates(content) if is_fitting else []
        if not shown:
            faults.append(Fault("config.cert.value", f"holds no certificate in {config.cert_type} form"))
    if config.cert is not None and config.key is not None:
        key = file_or_path(config.key)
        if key is not None:
            faults += _key_faults("config.key", key, config.key_type, password, shown)
    elif shown and content is not None and config.cert_type == "PEM":
        faults += _key_faults("config.cert.value", content, "PEM", password, shown)
    return faults


def _certificates(content: bytes) -> "list[Certificate]":
    """The certificates in these bytes; none where they cannot be read."""
    from cryptography import x509

    try:
        if _PEM_BEGIN in content:
            return x509.load_pem_x509_certificates(content)
        return [x509.load_der_x509_certificate(content)]
    except ValueError:
        return []


def _p12_faults(content: bytes, password: bytes | None) -> list[Fault]:
    from cryptography.hazmat.primitives.serialization import pkcs12

    field = "config.cert.value"
    if is_too_dear(content):
        return [Fault(field, _TOO_DEAR)]
    found = None
    for each in (password,) if password else (None, b""):  # no password may mean either
        try:
            found = found or pkcs12.load_key_and_certificates(content, each)
        except ValueError:
            continue
        except Exception:  # something that is unknown here, and maybe not to OpenSSL
            return []
    if found is None:
        return [Fault(field, "cannot be opened: it is no P12 file, or its password is another")]
    key, certificate, _ = found
    if key is None or certificate is None:
        return [Fault(field, "holds no certificate with its key")]
    return []


def _key_faults(
    field: str, content: bytes, form: str, password: bytes | None, shown: "list[Certificate]"
) -> list[Fault]:
    """What is wrong with a private key, which has to be that of the first certificate shown."""
    from cryptography.hazmat.primitives import serialization

    load: Callable[..., Any] = serialization.load_der_private_key
    if form == "PEM":
        found = _PEM_KEY.search(content)
        if found is None:
            return [Fault(field, "holds no private key in PEM form")]
        content, load = found[0] + b"\n", serialization.load_pem_private_key
    if is_too_dear(content):
        return [Fault(field, _TOO_DEAR)]
    try:
        key = _loaded(load, content, password)
    except (ValueError, TypeError):
        if password is None and b"ENCRYPTED" not in content:
            return [Fault(field, f"holds no private key in {form} form, or one that is locked without a password")]
        return [Fault(field, f"cannot be opened: it is no private key in {form} form, or its password is another")]
    except Exception:  # something that is unknown here, and maybe not to OpenSSL
        return []
    if shown and not _belongs(key, shown[0]):
        return [Fault(field, "is not the key of the certificate")]
    return []


def _loaded(load: Callable[..., Any], content: bytes, password: bytes | None) -> Any:
    """The key. A password for one that is not locked does no harm."""
    options = {"unsafe_skip_rsa_key_validation": True}
    try:
        return load(content, password, **options)
    except TypeError:
        if password is None:
            raise
        return load(content, None, **options)


def _belongs(key: Any, certificate: "Certificate") -> bool:
    try:
        return bool(key.public_key() == certificate.public_key())
    except Exception:  # a kind of key that is unknown here
        return True
