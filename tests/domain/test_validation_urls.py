"""URLs that may be called, and the targets they name."""

from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tasks_server.domain.limits import URL_LENGTH_MAX
from tasks_server.domain.urls import read_url


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("http://example.com", "example.com:80"),
        ("https://Example.COM/a?b=c#d", "example.com:443"),
        ("HTTPS://example.com:8443/", "example.com:8443"),
        ("http://example.com?x=1", "example.com:80"),
        ("http://localhost:9420/hook", "localhost:9420"),
        ("http://127.0.0.1:080/", "127.0.0.1:80"),
        ("http://_srv.example.com/", "_srv.example.com:80"),
        ("http://[::1]:8080/x", "[::1]:8080"),
        ("http://[2001:DB8::1]", "[2001:db8::1]:80"),
        (f"http://{'a' * 63}.{'b' * 63}.example/", f"{'a' * 63}.{'b' * 63}.example:80"),
        ("http://example.com/a@b:c", "example.com:80"),
    ],
)
def test_targets(text: str, target: str) -> None:
    assert read_url(text)[1] == target


def test_names_and_paths_beyond_ascii_are_encoded() -> None:
    assert read_url("http://bücher.example/ü?q=ß") == (
        "http://xn--bcher-kva.example/%C3%BC?q=%C3%9F",
        "xn--bcher-kva.example:80",
    )


@pytest.mark.parametrize(
    ("host", "target"),
    [
        ("B\u00dcCHER.example", "xn--bcher-kva.example:80"),
        ("stra\u00dfe.example", "xn--strae-oqa.example:80"),
        ("\u4e2d\u6587.example\u3002", "xn--fiq228c.example.:80"),
        ("\uff11\uff12\uff17.\uff10.0\u30021", "127.0.0.1:80"),
        ("\u2460\u2461\u2466\uff611", "127.1:80"),
        ("0\uff587f.1", "0x7f.1:80"),
        ("\u24db\uff4fcalhost", "localhost:80"),
        ("loc\u200balhost", "localhost:80"),
    ],
)
def test_hosts_in_other_scripts(host: str, target: str) -> None:
    """What looks like digits, dots or letters becomes them, so that the address it is gets judged."""
    assert read_url(f"http://{host}/") == (f"http://{target[:-3]}/", target)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("example.com/x", "must be absolute"),
        ("/x", "must be absolute"),
        ("ftp://example.com", "scheme ftp"),
        ("javascript:alert(1)", "scheme javascript"),
        ("http:example.com", "two slashes"),
        ("http://", "no host"),
        ("http://:80/", "no host"),
        ("http:///x", "no host"),
        ("http://user:secret@example.com/", "credentials"),
        ("http://example.com\\@evil.test/", "credentials"),
        ("http://example.com\\.evil.test/", "backslash"),
        ("http://exa mple.com/", "spaces"),
        ("http://example.com/a b", "spaces"),
        ("http://example.com/\r\nX: y", "spaces"),
        ("http://example.com/\u00a0", "spaces"),
        ("http://example.com:0/", "port"),
        ("http://example.com:65536/", "port"),
        ("http://example.com:/", "port"),
        ("http://example.com:٣/", "port"),
        ("http://a..b/", "valid name"),
        ("http://-a.example/", "valid name"),
        ("http://a%2eb/", "valid name"),
        (f"http://{'a' * 64}.example/", "valid name"),
        (f"http://{'a.' * 130}example/", "valid name"),
        ("http://[::1/", "IPv6"),
        ("http://[fe80::1%25eth0]/", "IPv6"),
        ("http://[::1]80/", "between"),
        ("http://℀.example/", "into ASCII"),
        ("http://a\uff0fb.example/", "into ASCII"),
        ("http://a\uff20b.example/", "into ASCII"),
        ("http://a\uff1a80.example/", "into ASCII"),
        ("http://\u200d.example/", "into ASCII"),
        ("http://\u0301a.example/", "into ASCII"),
        ("http://xn--a.bücher.example/", "into ASCII"),
        ("http://ü..example/", "valid name"),
        ("http://\u00ad/", "valid name"),
        (f"http://{'ü' * 63}.example/", "into ASCII"),
        (f"http://example.com/{'ü' * 1_400}", "longer than"),
    ],
)
def test_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as refused:
        read_url(text)
    assert "secret" not in str(refused.value)


@given(st.text(alphabet="htps:/@[]?#.%\\-a0é\n :\uff18", max_size=40).map(lambda tail: "http://" + tail))
@example("http://a.-b/")
def test_what_is_accepted_is_read_alike_by_others(text: str) -> None:
    """A parser of another kind must see the same host and port: else a check of ours guards another address."""
    try:
        url, target = read_url(text)
    except ValueError:
        return
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    assert f"{host}:{parts.port or 80}" == target
    assert parts.username is None
    assert url.isascii()
    assert len(url) <= URL_LENGTH_MAX
    assert read_url(url) == (url, target)
