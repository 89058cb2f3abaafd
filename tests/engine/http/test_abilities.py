"""What the engine says of its libcurl, and where certificates lie."""

from pathlib import Path

import pycurl
import pytest

from tasks_server.domain.abilities import FEATURES
from tasks_server.engine.certificates.paths import FILE_MAX_BYTES, path_fault
from tasks_server.engine.http import abilities
from tasks_server.engine.http.abilities import lacking


def test_this_libcurl_can_do_all_that_is_offered() -> None:
    assert lacking() == frozenset(), "the tests of options need a libcurl that has them all"


def test_a_bare_libcurl_lacks_it_all(monkeypatch: pytest.MonkeyPatch) -> None:
    class Bare:
        def setopt(self, *_: object) -> None:
            raise pycurl.error(48, "")

        def close(self) -> None:
            pass

    monkeypatch.setattr("pycurl.version_info", lambda: (0, "", 0, "", 0, "Schannel"))
    monkeypatch.setattr("pycurl.Curl", Bare)
    assert lacking() == FEATURES


def test_an_option_that_pycurl_does_not_know_is_lacking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(pycurl, "HAPROXY_CLIENT_IP")
    monkeypatch.delattr(pycurl, "VERSION_HTTP3")
    assert lacking() == {"HAProxy's client address", "HTTP/3"}


def test_every_feature_is_asked_of_libcurl() -> None:
    assert {*abilities._BITS, *abilities._OPTIONS, "P12 files"} == FEATURES


def test_files_are_found_below_the_folder_only(tmp_path: Path) -> None:
    folder = tmp_path / "certificates"
    folder.mkdir()
    (folder / "ca.pem").write_text("x")
    (folder / "huge.pem").write_bytes(bytes(FILE_MAX_BYTES + 1))
    (tmp_path / "outside.pem").write_text("x")
    assert path_fault(None, "ca.pem") == "this server has no CERTIFICATES_DIR for paths"
    assert path_fault(folder, "ca.pem") is path_fault(folder, str(folder / "ca.pem")) is None
    for wrong in ("huge.pem", "../outside.pem", "gone.pem", ".", "a\x00b"):
        assert path_fault(folder, wrong) == "no file below CERTIFICATES_DIR has this path"
    assert path_fault(tmp_path / "gone", "ca.pem") == "no file below CERTIFICATES_DIR has this path"
