"""Certificates and keys that could never be used are refused when the task is registered; those that can are not."""

import base64
import datetime
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs12

from tasks_server.domain.abilities import Abilities
from tasks_server.domain.certificates import certificates_of
from tasks_server.domain.errors import InvalidRequest
from tasks_server.domain.request import TaskConfig
from tasks_server.domain.validation import read
from tasks_server.engine.certificates.contents import examine
from tasks_server.engine.certificates.derivation import ROUNDS_MAX, rounds_of
from tasks_server.engine.certificates.pem import blocks
from tests.engine.http.authority import Authority, base64_of

AUTHORITY = Authority()
ONE, OTHER = AUTHORITY.issue("shop", chain=True), AUTHORITY.issue("other")
OPEN = "open"
RSA = rsa.generate_private_key(65_537, 2_048)


def traditional(password: str | None = None) -> bytes:
    """An RSA key as older tools write it."""
    locked = serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption()
    return RSA.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, locked)


def rsa_certificate() -> bytes:
    name, now = x509.Name([]), datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder(name, name, RSA.public_key(), 1, now, now + datetime.timedelta(days=1))
    return made.sign(RSA, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def many_rounds(rounds: int) -> bytes:
    """A P12 file that is dear to open. The rounds stand in it as they are, so that none is made here with many."""
    algorithm = (
        serialization.PrivateFormat.PKCS12.encryption_builder()
        .kdf_rounds(54_321)
        .key_cert_algorithm(pkcs12.PBES.PBESv2SHA256AndAES256CBC)
        .build(OPEN.encode())
    )
    content = pkcs12.serialize_key_and_certificates(b"a", ONE.private, ONE.certificate, None, algorithm)
    three = (54_321).to_bytes(3)
    assert b"\x02\x03" + three in content
    return content.replace(b"\x02\x03" + three, b"\x02\x03" + rounds.to_bytes(3))


def faults(**config: Any) -> list[tuple[str, str]]:
    config = {name: base64_of(value) if isinstance(value, bytes) else value for name, value in config.items()}
    if isinstance(config.get("cert"), str):
        config["cert"] = {"value": config["cert"]}
    asked = certificates_of(msgspec.convert(config, TaskConfig))
    found = examine(asked).faults if asked is not None else []
    assert all(fault.given is None for fault in found), "what is secret is not shown"
    return [(fault.field.removeprefix("config."), fault.message) for fault in found]


def cert(content: bytes, password: str | None = OPEN) -> dict[str, str]:
    return {"value": base64_of(content)} | ({"password": password} if password else {})


PARAMETERS = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
GOOD: dict[str, dict[str, Any]] = {
    "nothing": {},
    "paths": {"ca": "a.pem", "cert": {"value": "b.pem"}, "key": "c.pem"},
    "path of a cert": {"cert": {"value": "b.pem"}, "key": ONE.key()},
    "pem": {"ca": AUTHORITY.pem, "cert": ONE.pem, "key": ONE.key()},
    "several authorities": {"ca": AUTHORITY.pem + Authority("b").pem},
    "ca der": {"ca": AUTHORITY.der},
    "key first": {"cert": ONE.key() + ONE.pem},
    "key last": {"cert": ONE.pem + ONE.key()},
    "parameters before the key": {"cert": ONE.pem, "key": PARAMETERS + ONE.key()},
    "words around it": {"cert": b"Bag Attributes\n  a: b\n" + ONE.pem, "key": b"Key:\n" + ONE.key()},
    "locked": {"cert": cert(ONE.pem), "key": ONE.key(password=OPEN)},
    "password for nothing": {"cert": cert(ONE.pem), "key": ONE.key()},
    "der": {"cert": ONE.der, "certType": "DER", "key": ONE.key_der, "keyType": "DER"},
    "pem and der": {"cert": ONE.pem, "key": ONE.key_der, "keyType": "DER"},
    "p12": {"cert": cert(ONE.p12(OPEN)), "certType": "P12"},
    "rsa": {"cert": rsa_certificate(), "key": traditional()},
    "rsa, locked": {"cert": cert(rsa_certificate()), "key": traditional(OPEN)},
    "many rounds": {"cert": cert(many_rounds(54_321)), "certType": "P12"},
}  # fmt: skip


@pytest.mark.parametrize("config", GOOD.values(), ids=GOOD.keys())
def test_what_can_be_used_is_taken(config: dict[str, Any]) -> None:
    assert faults(**config) == []


SHUT = "cannot be opened: it is no private key in {} form, or its password is another"
P12_SHUT = "cannot be opened: it is no P12 file, or its password is another"
JUNK = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
BAD: dict[str, tuple[dict[str, Any], list[tuple[str, str]]]] = {
    "ca": ({"ca": JUNK}, [("ca", "holds no certificate in PEM or DER form")]),
    "a key for a ca": ({"ca": ONE.key()}, [("ca", "holds no certificate in PEM or DER form")]),
    "cert": ({"cert": JUNK, "key": ONE.key()}, [("cert.value", "holds no certificate in PEM form")]),
    "der for pem": ({"cert": ONE.der, "key": ONE.key()}, [("cert.value", "holds no certificate in PEM form")]),
    "pem for der": (
        {"cert": ONE.pem, "certType": "DER", "key": ONE.key()}, [("cert.value", "holds no certificate in DER form")],
    ),
    "no key": ({"cert": ONE.pem}, [("cert.value", "holds no private key in PEM form")]),
    "a certificate for a key": ({"cert": ONE.pem, "key": ONE.pem}, [("key", "holds no private key in PEM form")]),
    "another key": ({"cert": ONE.pem, "key": OTHER.key()}, [("key", "is not the key of the certificate")]),
    "wrong password": (
        {"cert": cert(ONE.pem, "wrong"), "key": ONE.key(password=OPEN)}, [("key", SHUT.format("PEM"))],
    ),
    "missing password": (
        {"cert": ONE.pem, "key": ONE.key(password=OPEN)}, [("key", "is locked, and there is no password in cert")],
    ),
    "wrong password, rsa": (
        {"cert": cert(rsa_certificate(), "wrong"), "key": traditional(OPEN)}, [("key", SHUT.format("PEM"))],
    ),
    "wrong password of p12": (
        {"cert": cert(ONE.p12(OPEN), "wrong"), "certType": "P12"}, [("cert.value", P12_SHUT)],
    ),
    "missing password of p12": ({"cert": cert(ONE.p12(OPEN), None), "certType": "P12"}, [("cert.value", P12_SHUT)]),
    "no p12": ({"cert": ONE.der, "certType": "P12"}, [("cert.value", P12_SHUT)]),
    "too dear": (
        {"cert": cert(many_rounds(2_000_001)), "certType": "P12"},
        [("cert.value", f"asks for more than {ROUNDS_MAX} rounds to make a key of its password")],
    ),
    "all at once": (
        {"ca": JUNK, "cert": JUNK, "key": JUNK},
        [("ca", "holds no certificate in PEM or DER form"), ("cert.value", "holds no certificate in PEM form"),
         ("key", "holds no private key in PEM form")],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("config", "expected"), BAD.values(), ids=BAD.keys())
def test_what_cannot_be_used_is_refused(config: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert faults(**config) == expected


def test_a_registration_says_so() -> None:
    raw = {"httpRequest": {"url": "https://a.test/", "method": "GET"}, "config": {"ca": base64_of(JUNK)}}
    with pytest.raises(InvalidRequest, match=r"config\.ca"):
        read(raw, 0, datetime.UTC, abilities=Abilities(examine=examine))
    assert read(raw, 0, datetime.UTC).config.ca is not None


def tagged(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return bytes([tag, len(content)]) + content


@pytest.mark.parametrize("rounds", [0, 1, ROUNDS_MAX, ROUNDS_MAX + 1, 2**31])
def test_locked_keys_tell_their_rounds(rounds: int) -> None:
    derivation = tagged(0x30, tagged(0x04, b"salt"), tagged(0x02, rounds.to_bytes(5)))
    der = tagged(0x30, tagged(0x30, tagged(0x06, b"x"), tagged(0x30, derivation)), tagged(0x04, b"locked"))
    name = "ENCRYPTED PRIVATE KEY"
    pem = f"-----BEGIN {name}-----\n{base64_of(der)}\n-----END {name}-----\n".encode()
    assert rounds_of(der) == rounds_of(pem) == rounds_of(ONE.pem + pem) == rounds
    assert rounds_of(pem + pem) == 2 * rounds, "of all that is in there"


@pytest.mark.parametrize(
    ("numbers", "fits"),
    [((16_384, 8, 1), True), ((16_384, 8, 4), False), ((2**20, 16, 1), False), ((2, 8, 2**31), False)],
)
def test_scrypt_is_judged_by_all_its_numbers(numbers: tuple[int, ...], fits: bool) -> None:
    parts = [tagged(0x02, number.to_bytes(5)) for number in numbers]
    der = tagged(0x30, tagged(0x04, b"salt"), *parts)
    assert (rounds_of(der) <= ROUNDS_MAX) is fits


BAIT = {
    "beginnings": b"-----BEGIN PRIVATE KEY-----" * 100_000,
    "beginnings and an end": b"-----BEGIN PRIVATE KEY-----" * 100_000 + b"-----END X-----",
    "labels without end": b"-----BEGIN " * 200_000,
    "rules": b"-" * 2_000_000,
    "ends": b"-----BEGIN A-----" + b"-----END " * 200_000,
}


@pytest.mark.parametrize("content", BAIT.values(), ids=BAIT.keys())
def test_blocks_are_found_in_a_single_pass(content: bytes) -> None:
    """With a pass for each beginning, this would take minutes."""
    assert list(blocks(content)) == []


def test_blocks_tell_their_names_and_their_text() -> None:
    content = b"words\n" + ONE.pem + b"-----BEGIN A-----\nAAAA\n-----END B-----\n" + ONE.key()
    found = list(blocks(content))
    assert [block.label for block in found] == [b"CERTIFICATE", b"CERTIFICATE", b"PRIVATE KEY"]
    assert found[2].text == ONE.key()
    assert found[2].der() == ONE.key_der


def opened(**config: Any) -> TaskConfig:
    """The configuration as it is kept."""
    raw = {name: base64_of(value) if isinstance(value, bytes) else value for name, value in config.items()}
    asked = {"httpRequest": {"url": "https://a.test/", "method": "GET"}, "config": raw}
    return read(asked, 0, datetime.UTC, abilities=Abilities(examine=examine)).config


LOCKED: dict[str, dict[str, Any]] = {
    "pem": {"cert": cert(ONE.pem), "key": ONE.key(password=OPEN)},
    "beside the certificates": {"cert": cert(ONE.key(password=OPEN) + ONE.pem)},
    "der": {
        "cert": cert(ONE.der), "certType": "DER", "key": ONE.key(serialization.Encoding.DER, OPEN), "keyType": "DER",
    },
    "p12": {"cert": cert(ONE.p12(OPEN)), "certType": "P12"},
}  # fmt: skip


@pytest.mark.parametrize("config", LOCKED.values(), ids=LOCKED.keys())
def test_what_was_locked_is_kept_unlocked(config: dict[str, Any]) -> None:
    kept = opened(**config)
    assert kept.cert is not None
    assert kept.cert.password is None
    assert kept.key is not None
    assert (base64.b64decode(kept.key), kept.key_type) == (ONE.key(), "PEM")
    shown = base64.b64decode(kept.cert.value)
    assert shown == (ONE.der if kept.cert_type == "DER" else ONE.pem), "with those above it"


def test_what_was_not_locked_is_kept_as_it_came() -> None:
    kept = opened(cert=cert(ONE.pem), key=ONE.key())
    assert kept.cert is not None
    assert kept.key is not None
    assert (kept.cert.password, base64.b64decode(kept.key)) == (OPEN, ONE.key())


def test_keys_of_more_than_8192_bits_are_refused() -> None:
    """To make a real one would take minutes; nobody looks whether the factors of this one are primes."""
    p, q = 2**4_200 + 1, 2**4_100 + 3
    public = rsa.RSAPublicNumbers(e=65_537, n=p * q)
    numbers = rsa.RSAPrivateNumbers(p=p, q=q, d=65_537, dmp1=65_537, dmq1=65_537, iqmp=1, public_numbers=public)
    key = numbers.private_key(unsafe_skip_rsa_key_validation=True)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    expected = [("key", f"is a key of {key.key_size} bits; at most 8192 are taken")]
    assert faults(cert=cert(ONE.pem, None), key=key.private_bytes(*form)) == expected
