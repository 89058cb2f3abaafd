"""The options of a request that few tasks have: credentials, cookies, TLS, proxy, names. One table for all uses.

Each field says what it does, which libcurl option it becomes and whether it is secret; validation, the OpenAPI
document, docs/request-options.md and a test of the documentation are made from that. Rules that types cannot say are
in `rules_options`. Tasks with none of these options are spared all that (`is_special` in `request`).
"""

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from tasks_server.domain import limits
from tasks_server.domain.defaults import NOW, HttpVersion
from tasks_server.domain.referrer import ReferrerPolicy

MULTIPLEXED: Final[frozenset[str]] = frozenset({"2", "2-prior-knowledge", "3"})
"""Versions of HTTP in which one connection carries many requests at once."""
TlsVersion = Literal["1.0", "1.1", "1.2", "1.3"]
TLS_VERSIONS: Final[tuple[str, ...]] = ("1.0", "1.1", "1.2", "1.3")
REFERER_AUTO: Final = "AUTO"
ENGINE: Final = "the engine"
"""Stands in the table where no option of libcurl's is behind ours."""

Name = Annotated[str, Meta(min_length=1, max_length=limits.NAME_LENGTH_MAX)]
HostName = Annotated[str, Meta(min_length=1, max_length=253)]
Port = Annotated[int, Meta(ge=1, le=65_535)]
Ip = Annotated[str, Meta(min_length=2, max_length=45)]
_Blob = Annotated[str, Meta(min_length=1)]
_HeaderName = Annotated[str, Meta(min_length=1, max_length=limits.NAME_LENGTH_MAX, pattern=r"^[a-zA-Z0-9$_.\-\[\]]+$")]
_Scope = Annotated[str, Meta(min_length=1, max_length=limits.SIGNING_SCOPE_LENGTH_MAX, pattern=r"^[a-zA-Z0-9\-]+$")]
_Credential = Annotated[str, Meta(max_length=limits.TOKEN_LENGTH_MAX)]
_Provider = Annotated[str, Meta(min_length=3, max_length=limits.NAME_LENGTH_MAX, pattern=r"^[a-zA-Z0-9]+$")]


def told(description: str, becomes: str, *, secret: bool = False) -> Meta:
    """What the table says of an option: its effect, the libcurl option behind it, whether its value is secret."""
    return Meta(description=description, extra={"option": becomes, "secret": secret})


class _Part(msgspec.Struct, rename="camel", frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A value of an option that has parts."""


class Credentials(_Part, frozen=True):
    """Who somebody is, and how to prove it. One of both may be empty: tokens stand in either place."""

    username: _Credential
    password: Annotated[_Credential, Meta(extra={"secret": True})]


class Cookie(_Part, frozen=True):
    name: Name
    value: Annotated[str, Meta(min_length=1, max_length=limits.COOKIE_LENGTH_MAX, extra={"secret": True})]


class AwsSigv4(_Part, frozen=True):
    """What a signature by AWS's version 4 is made with."""

    provider1: _Provider
    provider2: _Provider
    region: _Scope
    service: _Scope
    key: Annotated[str, Meta(min_length=1, max_length=256, extra={"secret": True})]
    secret: Annotated[str, Meta(min_length=1, max_length=256, extra={"secret": True})]


class Certificate(_Part, frozen=True):
    """A client certificate, and the password of its key or of the P12 file."""

    value: Annotated[str, Meta(min_length=1, extra={"secret": True})]
    password: Annotated[str, Meta(min_length=1, max_length=256, extra={"secret": True})] | None = None


ANY_HOST: Final = "*"


class Resolve(_Part, frozen=True):
    """The addresses of a host and port, whatever the name service says. `*` is every host that has no entry."""

    host: HostName
    port: Port
    address: Annotated[list[Ip], Meta(min_length=1, max_length=4)]


class Proxy(_Part, frozen=True):
    protocol: Literal["http", "https", "socks4", "socks4a", "socks5", "socks5h"]
    host: HostName
    port: Port | None = None


class RequestOptions(msgspec.Struct, rename="camel", forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """Options in `httpRequest`."""

    cookie: Annotated[
        _Blob | Annotated[list[Cookie], Meta(min_length=1, max_length=16)] | None,
        told(
            "Cookies to send: an array of names and values for the target's host, or base64 of a Netscape cookie "
            "file, of which those are sent that fit. Cookies that the target sets count for the redirects of the "
            "same attempt.",
            "COOKIE, COOKIELIST",
            secret=True,
        ),
    ] = None
    auth_basic: Annotated[
        Credentials | None, told("Basic authentication at the target.", "HTTPAUTH, USERNAME, PASSWORD", secret=True)
    ] = None
    auth_digest: Annotated[
        Credentials | None, told("Digest authentication at the target.", "HTTPAUTH, USERNAME, PASSWORD", secret=True)
    ] = None
    auth_ntlm: Annotated[
        Credentials | None,
        told(
            "NTLM (version 2) at the target; the username may be `DOMAIN\\user`. Needs HTTP/1.1. The connection "
            "is the attempt's own and closed after it. The data go out with the proof of who sends them, or when "
            "the target asks for none.",
            "none: by pyspnego",
            secret=True,
        ),
    ] = None
    auth_aws_sigv4: Annotated[
        AwsSigv4 | None,
        told(
            "Signs the request as AWS wants it, version 4. `provider1` is `aws`, as a rule.", "AWS_SIGV4", secret=True
        ),
    ] = None


class ConnectionOptions(msgspec.Struct, rename="camel", forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """Options in `config`."""

    http_version: Annotated[
        HttpVersion,
        told(
            "The version of HTTP to speak. `2` is agreed on over TLS, else it is 1.1; `2-prior-knowledge` begins with "
            "it, in clear text too. `3` tries QUIC; where that brings no connection, and in clear text, it is 2 or "
            "1.1. `0.9` asks in 1.0 and understands an answer without any headers. Each has connections of its own.",
            "HTTP_VERSION, HTTP09_ALLOWED, PIPEWAIT",
        ),
    ] = NOW.http_version
    location_trusted: Annotated[
        Credentials | None,
        told(
            "Basic authentication at the target, and at every host that it redirects to.",
            "UNRESTRICTED_AUTH, USERNAME, PASSWORD",
            secret=True,
        ),
    ] = None
    referer_url: Annotated[
        Annotated[str, Meta(min_length=1, max_length=limits.URL_LENGTH_MAX)] | None,
        told(
            "The `Referer`: a URL; or `AUTO` (with `transport: curl`, and its default), which on a redirect names "
            "the URL before it.",
            "REFERER, AUTOREFERER",
        ),
    ] = None
    referrer_policy: Annotated[
        ReferrerPolicy | None,
        told(
            "How much the `Referer` tells, by the Referrer Policy standard; empty is its default, "
            "`strict-origin-when-cross-origin`. It is about `refererUrl`, from the first request on; without that, "
            "about the URL that redirected. A redirect may bring another policy (`Referrer-Policy`). With transport "
            "fetch only.",
            "REFERER, FOLLOWLOCATION",
        ),
    ] = None
    credentials: Annotated[
        Literal["omit", "same-origin", "include"] | None,
        told(
            "Where cookies, credentials and the client certificate go: nowhere (`omit`); to the URL's origin until "
            "a redirect leads away from it (`same-origin`); or wherever they belong (`include`): a cookie to its host "
            "whatever the port, credentials to the origin of the URL, a certificate to all. Unless they are omitted, "
            "cookies that targets set count for the redirects of the same attempt. With transport fetch only.",
            "COOKIE, COOKIELIST, USERNAME, SSLCERT_BLOB, FOLLOWLOCATION",
        ),
    ] = None
    mode: Annotated[
        Literal["cors", "no-cors", "same-origin"] | None,
        told(
            "`same-origin`: a redirect to another origin is an error. `cors`: one with credentials in its URL is. "
            "`no-cors`: only what a plain form on a page could send is accepted. Told to targets as `Sec-Fetch-Mode`, "
            "by https or on this machine. With transport fetch only.",
            "HTTPHEADER, FOLLOWLOCATION",
        ),
    ] = None
    keep_alive_duration: Annotated[
        Annotated[int, Meta(ge=0, le=limits.KEEP_ALIVE_MAX_SECONDS)] | None,
        told(
            "Seconds for which a connection that was idle may be used again, and after which TCP asks whether the "
            "other side is still there. 0: the connection is closed after the request. The server closes idle "
            "connections after 30 seconds without any call, whatever this says.",
            "MAXAGE_CONN, TCP_KEEPALIVE, TCP_KEEPIDLE, FORBID_REUSE",
        ),
    ] = None
    ip_version: Annotated[Literal[4, 6] | None, told("Connects by this version of IP only.", "IPRESOLVE")] = None
    proto: Annotated[Literal["http", "https"] | None, told("The only scheme that the URL may have.", "PROTOCOLS")] = (
        None
    )
    proto_redirect: Annotated[
        Literal["http", "https"] | None, told("The only scheme that redirects may lead to.", "REDIR_PROTOCOLS")
    ] = None
    resolve: Annotated[
        Annotated[list[Resolve], Meta(min_length=1, max_length=4)] | None,
        told(
            "Addresses of hosts and ports, used instead of those that the name service has. `*` as host: of every host "
            "at that port that has none of its own here, whatever redirects lead to; also of one that is an address.",
            "RESOLVE",
        ),
    ] = None
    dns_server: Annotated[
        Annotated[list[Ip], Meta(min_length=1, max_length=4)] | None,
        told(
            "The DNS servers that look up every name of this task (target, redirects, proxy) instead of the system's, "
            "in turn: by UDP, and by TCP where an answer is too long.",
            "RESOLVE, with names looked up by the server itself",
        ),
    ] = None
    doh_url: Annotated[
        Annotated[str, Meta(min_length=1, max_length=limits.URL_LENGTH_MAX)] | None,
        told(
            "The server of DNS over HTTPS (RFC 8484) that looks up every name of this task; its own name is looked "
            "up by the system. Trusts `ca`, where that is given.",
            "RESOLVE, with names looked up by the server itself",
        ),
    ] = None
    doh_insecure: Annotated[
        bool,
        told("Takes any certificate of the server of `dohUrl`.", "SSL_VERIFYPEER, SSL_VERIFYHOST of that call"),
    ] = NOW.doh_insecure
    tls_version: Annotated[TlsVersion | None, told("The lowest version of TLS to accept.", "SSLVERSION")] = None
    tls_max_version: Annotated[TlsVersion | None, told("The highest version of TLS to accept.", "SSLVERSION")] = None
    insecure: Annotated[
        bool, told("Takes any certificate of the target, for any name.", "SSL_VERIFYPEER, SSL_VERIFYHOST")
    ] = NOW.insecure
    cert_status: Annotated[
        bool, told("Refuses a target that does not prove (by OCSP stapling) that its certificate was not revoked.",
                   "SSL_VERIFYSTATUS"),
    ] = NOW.cert_status  # fmt: skip
    ca: Annotated[
        _Blob | None,
        told(
            "The authorities to trust instead of the server's, at the target and at an HTTPS proxy: one or more "
            "certificates as base64 of PEM, or one as base64 of DER, or a path below `CERTIFICATES_DIR`.",
            "CAINFO_BLOB, PROXY_CAINFO_BLOB",
        ),
    ] = None
    cert: Annotated[
        Certificate | None,
        told(
            "The certificate to show to the target, with those that lead to its authority: base64 or a path below "
            "`CERTIFICATES_DIR`. The password opens the key or the P12 file.",
            "SSLCERT_BLOB, KEYPASSWD",
            secret=True,
        ),
    ] = None
    cert_type: Annotated[Literal["DER", "PEM", "P12"], told("The form of `cert`.", "SSLCERTTYPE")] = NOW.cert_type
    key: Annotated[
        _Blob | None,
        told(
            "The private key of `cert`: base64 or a path below `CERTIFICATES_DIR`. A P12 file brings its own.",
            "SSLKEY_BLOB",
            secret=True,
        ),
    ] = None
    key_type: Annotated[Literal["DER", "PEM"], told("The form of `key`.", "SSLKEYTYPE")] = NOW.key_type
    session_id: Annotated[
        bool, told("Whether a TLS session may be resumed by a later connection.", "SSL_SESSIONID_CACHE")
    ] = NOW.session_id
    hsts: Annotated[
        _Blob | bool | None,
        told(
            "`true`: a host that asks for it (`Strict-Transport-Security`) is called by https when a redirect of the "
            "same attempt leads back to it by http. Base64 of an HSTS file of curl: so are the hosts in it, from the "
            "first request on.",
            "HSTS_CTRL, HSTSREADFUNCTION",
        ),
    ] = None
    proxy: Annotated[
        Proxy | None,
        told(
            "Sends the request through this proxy. With `socks4a` and `socks5h` the proxy looks up names. Without "
            "`port`: 443 for https, else 1080.",
            "PROXY",
        ),
    ] = None
    proxy_http_version: Annotated[
        Literal["1.0", "1.1", "2"] | None,
        told("The version of HTTP in which a tunnel is asked for; 2 with an https proxy.", "PROXYTYPE"),
    ] = None
    proxy_auth_basic: Annotated[
        Credentials | None, told("Basic authentication at the proxy.", "PROXYAUTH, PROXYUSERNAME", secret=True)
    ] = None
    proxy_auth_digest: Annotated[
        Credentials | None, told("Digest authentication at the proxy.", "PROXYAUTH, PROXYUSERNAME", secret=True)
    ] = None
    proxy_auth_ntlm: Annotated[
        Credentials | None,
        told(
            "NTLM (version 2) at an http proxy, also for tunnels to https targets; the username may be "
            "`DOMAIN\\user`. Not with an https or SOCKS proxy. Connections are the attempt's own.",
            "none: by pyspnego; CONNECT_TO, SOCKOPTFUNCTION",
            secret=True,
        ),
    ] = None
    proxy_headers: Annotated[
        Annotated[
            dict[_HeaderName, Annotated[str, Meta(max_length=limits.TOKEN_LENGTH_MAX)]],
            Meta(max_length=limits.HEADERS_MAX),
        ]
        | None,
        told("Headers for the proxy alone.", "PROXYHEADER", secret=True),
    ] = None
    proxy_insecure: Annotated[
        bool, told("Takes any certificate of an https proxy.", "PROXY_SSL_VERIFYPEER, PROXY_SSL_VERIFYHOST")
    ] = NOW.proxy_insecure
    ha_proxy_protocol: Annotated[
        bool, told("Begins the connection with a line of the HAProxy PROXY protocol, version 1.", "HAPROXYPROTOCOL")
    ] = NOW.ha_proxy_protocol
    ha_proxy_client_ip: Annotated[
        Ip | None, told("The client's address in that line, instead of this server's.", "HAPROXY_CLIENT_IP")
    ] = None


@cache
def option_fields(kind: Any) -> Mapping[str, str]:
    """The fields of such a struct: name in Python to name on the wire."""
    return MappingProxyType({field.name: field.encode_name for field in msgspec.structs.fields(kind)})
