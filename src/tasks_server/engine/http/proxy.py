"""The way to the target as a task wants it: through a proxy, with a line of the HAProxy protocol, to addresses of its
own choice.
"""

from typing import Final

import pycurl

from tasks_server.domain.options import Proxy
from tasks_server.domain.request import TaskConfig
from tasks_server.engine.http.headers import header_line

_HTTPS2: Final = 3
"""CURLPROXY_HTTPS2, which pycurl has no name for: HTTP/2 to the proxy."""
_IP_VERSIONS: Final = {4: pycurl.IPRESOLVE_V4, 6: pycurl.IPRESOLVE_V6}


def set_way(curl: "pycurl.Curl", config: TaskConfig) -> None:
    set_names(curl, config)
    if config.ha_proxy_protocol:
        curl.setopt(pycurl.HAPROXYPROTOCOL, 1)
        if config.ha_proxy_client_ip is not None:
            curl.setopt(pycurl.HAPROXY_CLIENT_IP, config.ha_proxy_client_ip)
    if config.proxy is not None:
        _set_proxy(curl, config, config.proxy)


def set_names(curl: "pycurl.Curl", config: TaskConfig) -> None:
    """Which addresses names have."""
    if config.ip_version is not None:
        curl.setopt(pycurl.IPRESOLVE, _IP_VERSIONS[config.ip_version])
    if config.resolve is not None:
        curl.setopt(pycurl.RESOLVE, given_lines(config))


def given_lines(config: TaskConfig) -> list[str]:
    """The addresses of `resolve`, as libcurl wants them."""
    return [f"{one.host}:{one.port}:{','.join(map(bracketed, one.address))}" for one in config.resolve or ()]


def _set_proxy(curl: "pycurl.Curl", config: TaskConfig, proxy: Proxy) -> None:
    setopt = curl.setopt
    # Whether the version is 1.0 or 2 stays, where the scheme of the proxy's URL fits it.
    if config.proxy_http_version == "1.0":
        setopt(pycurl.PROXYTYPE, pycurl.PROXYTYPE_HTTP_1_0)
    elif config.proxy_http_version == "2":
        setopt(pycurl.PROXYTYPE, _HTTPS2)
    setopt(pycurl.PROXY, f"{proxy.protocol}://{proxy_host(proxy)}")
    credentials = config.proxy_auth_basic or config.proxy_auth_digest
    if credentials is not None:
        setopt(pycurl.PROXYAUTH, pycurl.HTTPAUTH_BASIC if config.proxy_auth_basic else pycurl.HTTPAUTH_DIGEST)
        setopt(pycurl.PROXYUSERNAME, credentials.username.encode())
        setopt(pycurl.PROXYPASSWORD, credentials.password.encode())
    if config.proxy_headers:
        setopt(pycurl.PROXYHEADER, proxy_lines(config))
    if config.proxy_insecure:
        setopt(pycurl.PROXY_SSL_VERIFYPEER, 0)
        setopt(pycurl.PROXY_SSL_VERIFYHOST, 0)


def proxy_lines(config: TaskConfig) -> list[bytes]:
    """The header lines for the proxy alone."""
    return [header_line(name, value) for name, value in (config.proxy_headers or {}).items()]


def proxy_host(proxy: Proxy) -> str:
    """The `host:port` of a proxy."""
    host = proxy.host if proxy.host.startswith("[") else bracketed(proxy.host)
    return f"{host}:{proxy.port or (443 if proxy.protocol == 'https' else 1_080)}"


def bracketed(host: str) -> str:
    """The host as URLs have it: IPv6 addresses in brackets."""
    return f"[{host}]" if ":" in host else host
