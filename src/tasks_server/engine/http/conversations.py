"""Which calls need a conversation, and the conversation of each."""

from tasks_server.domain.options import REFERER_AUTO
from tasks_server.engine.calls import Call
from tasks_server.engine.http.conversation import Ask, Conversation, opening
from tasks_server.engine.http.fetching import fetch, is_fetch
from tasks_server.engine.http.names import servers_of
from tasks_server.engine.http.ntlm import AtProxy, AtTarget, Play
from tasks_server.engine.http.proxy import proxy_host, proxy_lines
from tasks_server.engine.http.redirects import Home, follow


def conversation_of(call: Call, agent_line: bytes) -> tuple[Conversation, bool] | None:
    """The conversation of a call with special options, and whether its connections are its own; None: one transfer
    is enough, unless it is redirected.
    """
    request, config = call.request, call.config
    speaks_ntlm = needs_ntlm(call)
    if not speaks_ntlm and not is_fetch(config) and servers_of(config) is None:
        return None
    play: Play = _alone
    if config.proxy_auth_ntlm is not None:
        assert config.proxy is not None
        agent = [agent_line if config.user_agent is None else f"User-Agent: {config.user_agent}".encode()]
        play = AtProxy(config.proxy_auth_ntlm, proxy_host(config.proxy), [*agent, *proxy_lines(config)]).play
    if request.auth_ntlm is not None:
        play = AtTarget(request.auth_ntlm, play).play
    if is_fetch(config):
        return fetch(opening(call, agent_line), play, config, Home.of(request.headers)), speaks_ntlm
    return following(call, agent_line, play), speaks_ntlm


def following(call: Call, agent_line: bytes, play: Play | None = None) -> Conversation:
    """The conversation of a call that is redirected, by curl's rules; `play` makes each hop's part of it."""
    request, config = call.request, call.config
    names_referer = request.transport == "curl" and config.referer_url in (None, REFERER_AUTO)
    first, home = opening(call, agent_line), Home.of(request.headers)
    return follow(first, play or _alone, config, home=home, names_referer=names_referer)


def needs_ntlm(call: Call) -> bool:
    """Whether somebody has to prove who they are by NTLM."""
    return call.request.auth_ntlm is not None or call.config.proxy_auth_ntlm is not None


def _alone(ask: Ask) -> Conversation:
    return (yield ask)
