"""What is in certificates and keys that tasks bring as base64: one that could never be sent is refused, and what is
locked is opened. cryptography is loaded with this module.

Where it knows less than OpenSSL, which has the last word when the task is sent, nothing is refused but what is locked.
"""

import base64
from collections.abc import Callable, Sequence
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, rsa
from cryptography.hazmat.primitives.serialization import pkcs12

from tasks_server.domain.certificates import Certificates, Examined
from tasks_server.domain.errors import Fault
from tasks_server.engine.certificates.derivation import ROUNDS_MAX, rounds_of
from tasks_server.engine.certificates.pem import BEGIN, blocks

_PEM, _DER = serialization.Encoding.PEM, serialization.Encoding.DER
TOO_DEAR: Final = f"asks for more than {ROUNDS_MAX} rounds to make a key of its password"
KEY_BITS_MAX: Final = 8_192
"""Of an RSA or DSA key: to sign with one of twice the length takes a second at each call."""


class _Refused(Exception):
    """What is wrong with a key."""


def examine(asked: Certificates) -> Examined:
    """All that is wrong with them, and what was locked without its lock. May take a second of a processor, or more
    where a file does not tell its rounds unopened.
    """
    return Examination(asked).told()


class Examination:
    """One look at what a configuration brings. `rounds`: those that it is known to ask for."""

    def __init__(self, asked: Certificates) -> None:
        self._asked = asked
        self._password = asked.password.encode() if asked.password is not None else None
        self._cert = _bytes(asked.cert)
        self._key = _bytes(asked.key)
        self._faults: list[Fault] = []
        self._opened_cert: bytes | None = None
        self._opened_key: bytes | None = None

    @property
    def rounds(self) -> int:
        return sum(rounds_of(content) for content in (self._cert, self._key) if content is not None)

    def told(self) -> Examined:
        asked = self._asked
        if asked.ca is not None and not _certificates(_bytes(asked.ca) or b""):
            self._fault("config.ca", "holds no certificate in PEM or DER form")
        if self._cert is not None and asked.cert_type == "P12":
            self._try("config.cert.value", self._open_p12, self._cert)
        else:
            self._look_at_both()
        return Examined(self._faults, _text(self._opened_cert), _text(self._opened_key))

    def _look_at_both(self) -> None:
        shown: Sequence[x509.Certificate] = []
        cert, form = self._cert, self._asked.cert_type
        if cert is not None:
            shown = _certificates(cert) if (form == "PEM") == (BEGIN in cert) else []
            if not shown:
                self._fault("config.cert.value", f"holds no certificate in {form} form")
        if self._key is not None:
            self._try("config.key", self._open_key, self._key, self._asked.key_type, shown)
        elif shown and cert is not None and form == "PEM" and not self._asked.key_elsewhere:
            self._try("config.cert.value", self._open_key, cert, "PEM", shown)
            if self._opened_key is not None:  # it stood beside the certificates, locked
                self._opened_cert = b"".join(one.public_bytes(_PEM) for one in shown)

    def _fault(self, field: str, message: str) -> None:
        self._faults.append(Fault(field, message))

    def _try(self, field: str, look: Callable[..., None], *given: Any) -> None:
        try:
            look(*given)
        except _Refused as refusal:
            self._fault(field, str(refusal))

    def _open_p12(self, content: bytes) -> None:
        if self.rounds > ROUNDS_MAX:
            raise _Refused(TOO_DEAR)
        found = None
        for each in (self._password,) if self._password else (None, b""):  # no password may mean either
            try:
                found = found or pkcs12.load_key_and_certificates(content, each)
            except ValueError:
                continue
            except Exception as error:
                raise _Refused("is locked in a way that is not known here; give its parts as PEM, unlocked") from error
        if found is None:
            raise _Refused("cannot be opened: it is no P12 file, or its password is another")
        key, certificate, above = found
        if key is None or certificate is None:
            raise _Refused("holds no certificate with its key")
        _judge_size(key)
        self._opened_cert = b"".join(one.public_bytes(_PEM) for one in (certificate, *above))
        self._opened_key = _unlocked(key)

    def _open_key(self, content: bytes, form: str, shown: Sequence[x509.Certificate]) -> None:
        """Looks at a private key, which has to be that of the first certificate shown; opens it, if it is locked."""
        load: Callable[..., Any] = serialization.load_der_private_key
        if form == "PEM":
            found = next((block for block in blocks(content) if block.label.endswith(b"PRIVATE KEY")), None)
            if found is None:
                raise _Refused("holds no private key in PEM form")
            content, load = found.text, serialization.load_pem_private_key
        if rounds_of(content) > ROUNDS_MAX:
            raise _Refused(TOO_DEAR)
        key, was_locked = self._loaded(load, content, form)
        if key is None:
            return
        _judge_size(key)
        if shown and not _belongs(key, shown[0]):
            raise _Refused("is not the key of the certificate")
        if was_locked:
            self._opened_key = _unlocked(key)

    def _loaded(self, load: Callable[..., Any], content: bytes, form: str) -> tuple[Any, bool]:
        """The key, and whether it was locked. A password for one that is not does no harm. No key: a kind that is
        unknown here, and maybe not to OpenSSL.
        """
        try:
            return load(content, None, unsafe_skip_rsa_key_validation=True), False
        except TypeError:  # it is locked
            pass
        except ValueError:
            raise _Refused(f"holds no private key in {form} form") from None
        except Exception:
            return None, False
        if self._password is None:
            raise _Refused("is locked, and there is no password in cert")
        try:
            return load(content, self._password, unsafe_skip_rsa_key_validation=True), True
        except (ValueError, TypeError):
            raise _Refused(
                f"cannot be opened: it is no private key in {form} form, or its password is another"
            ) from None
        except Exception as error:
            raise _Refused("is locked in a way that is not known here; give it unlocked") from error


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)


def _text(content: bytes | None) -> str | None:
    return None if content is None else base64.b64encode(content).decode()


def _certificates(content: bytes) -> list[x509.Certificate]:
    """The certificates in these bytes; none where they cannot be read."""
    try:
        if BEGIN in content:
            return x509.load_pem_x509_certificates(content)
        return [x509.load_der_x509_certificate(content)]
    except ValueError:
        return []


def _unlocked(key: Any) -> bytes:
    made: bytes = key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return made


def _judge_size(key: Any) -> None:
    if isinstance(key, rsa.RSAPrivateKey | dsa.DSAPrivateKey) and key.key_size > KEY_BITS_MAX:
        raise _Refused(f"is a key of {key.key_size} bits; at most {KEY_BITS_MAX} are taken")


def _belongs(key: Any, certificate: x509.Certificate) -> bool:
    try:
        return bool(key.public_key() == certificate.public_key())
    except Exception:  # a kind of key that is unknown here
        return True
