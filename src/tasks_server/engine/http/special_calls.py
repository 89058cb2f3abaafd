"""Calls that are more than one transfer: what is loaded or looked up before it, the conversation that some need by
their options, and all where a redirect leads elsewhere; and how that goes on. Other calls never come here.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pycurl

from tasks_server.domain.attempt import Outcome
from tasks_server.engine.calls import Call
from tasks_server.engine.http.conversation import Broken, Conversation, Ended
from tasks_server.engine.http.conversations import conversation_of, following
from tasks_server.engine.http.endings import Failure, outcome_of, outcome_of_failure, outcome_of_fault
from tasks_server.engine.http.fetching import without_credentials
from tasks_server.engine.http.handles import Handle, Handles
from tasks_server.engine.http.loading import Loading
from tasks_server.engine.http.names import LookedUp, Names, servers_of, wanted_names
from tasks_server.engine.http.options import Shapes
from tasks_server.engine.http.places import REDIRECTS
from tasks_server.engine.http.special import put_special
from tasks_server.engine.http.talk import FINAL, Talk
from tasks_server.engine.http.tunnel import Tunnel


class Surroundings(msgspec.Struct, frozen=True):
    """What all calls of one set of transfers have in common. `refusal` says why a URL may not be called (None: it may);
    `monotonic` is in seconds.
    """

    constant: list[tuple[int, Any]]
    shapes: Shapes
    agent_line: bytes
    certificates_dir: Path | None
    refusal: Callable[[str], str | None]
    monotonic: Callable[[], float]


class SpecialCalls:
    """Prepares them and carries them on. `attach` and `detach` put a handle into a transfer and take it out."""

    def __init__(
        self,
        around: Surroundings,
        handles: Handles,
        names: Names,
        loading: Loading,
        *,
        attach: Callable[["pycurl.Curl"], None],
        detach: Callable[["pycurl.Curl"], None],
    ) -> None:
        self._around = around
        self._handles = handles
        self._names = names
        self._loading = loading
        self._attach = attach
        self._detach = detach

    def taken(self, call: Call) -> Call | None:
        """The call as it is to be made; None: it waits for what has to be loaded (see `Loading`)."""
        if call.config.credentials == "omit":
            call = without_credentials(call)
        return None if self._loading.takes(call) else call

    def begin(self, handle: Handle, call: Call) -> None:
        """Puts the special options of a call on a fresh handle that has all others, and begins its transfer or, where
        that is needed first, looks its names up.
        """
        self._pass_on_to_gate(handle, call)
        identity = put_special(handle.curl, call, self._around.certificates_dir)
        talk = handle.talk = self._talk(handle, call)
        if identity is not None and (talk is None or not talk.is_private):
            handle.curl.setopt(pycurl.SHARE, self._handles.identities.take(identity))
            handle.identity = identity
        if talk is None or not self._looks_up(talk, call):
            self._attach(handle.curl)

    def redirected(self, handle: Handle, call: Call) -> Talk | None:
        """The conversation about a call that seemed to be one transfer, which has brought an answer; None: it was one.
        The answer is still to be told to the conversation.
        """
        config = call.config
        if not config.location or not config.redirect_attempts:
            return None
        if handle.curl.getinfo(pycurl.RESPONSE_CODE) not in REDIRECTS:
            return None
        handle.talk = self._new_talk(handle, call, following(call, self._around.agent_line), is_made=True)
        return handle.talk

    def go_on(self, handle: Handle, talk: Talk, call: Call, failure: Failure | None, now: int) -> Outcome | None:
        """Goes on with the conversation of a call whose present transfer has ended; its outcome when it is over."""
        try:
            is_final = failure is not None and (failure[0] in FINAL or handle.gate.refusal is not None)
            if is_final or not talk.answer(list(handle.headers), failure[0] if failure else 0):
                return outcome_of(handle, call, failure, now)
            self._detach(handle.curl)
            talk.is_added = False
            handle.headers.clear()
            talk.go_on()
            self._handles.rename(handle, talk.curl)
            if not self._looks_up(talk, call):
                self._attach(handle.curl)
                talk.is_added = True
        except Ended as end:
            return end.outcome
        except Broken as end:
            return outcome_of_failure(handle, call, end.code, end.message, int(end.following))
        except Exception as error:  # whatever goes wrong ends that call alone
            return outcome_of_fault(error)
        return None

    def go_on_with(self, handle: Handle, talk: Talk, call: Call, known: LookedUp) -> Outcome | None:
        """Goes on with a call whose names were looked up; its outcome when that brought none."""
        try:
            if known.failure is None:
                talk.know(known.wanted, known.addresses)
                self._attach(handle.curl)
                talk.is_added = True
                return None
            if talk.is_late:
                return outcome_of_failure(handle, call, pycurl.E_OPERATION_TIMEDOUT, "")
        except Exception as error:  # whatever goes wrong ends that call alone
            return outcome_of_fault(error)
        return known.failure

    def _looks_up(self, talk: Talk, call: Call) -> bool:
        """Whether the present ask has to wait until names are looked up, which then is under way."""
        servers = servers_of(call.config)
        # What goes through an open tunnel needs no name.
        wanted = [] if servers is None or talk.ask.way == "tunnel" else wanted_names(call.config, talk.ask.url)
        if servers is None or not wanted:
            return False
        talk.is_added = False
        self._names.begin(call.token, servers, wanted, talk.seconds_left)
        return True

    def _pass_on_to_gate(self, handle: Handle, call: Call) -> None:
        """Tells the gate what this call brings along that leads elsewhere than its URL says."""
        config = call.config
        proxy = config.proxy.host if config.proxy is not None else None
        servers = servers_of(config)
        trusts_names = config.resolve is None and (servers is None or servers.is_system)
        handle.gate.begin(call.request.url, proxy, trusts_names=trusts_names)
        if proxy is not None:
            handle.curl.setopt(pycurl.PREREQFUNCTION, handle.gate.before_request)

    def _talk(self, handle: Handle, call: Call) -> Talk | None:
        """The conversation of a call, its first ask on the handle; None: one transfer is enough."""
        around = self._around
        needed = conversation_of(call, around.agent_line)
        if needed is None:
            return None
        conversation, private = needed
        talk = self._new_talk(handle, call, conversation, private=private)
        self._handles.rename(handle, talk.curl)
        return talk

    def _new_talk(
        self, handle: Handle, call: Call, conversation: Conversation, *, private: bool = False, is_made: bool = False
    ) -> Talk:
        around = self._around

        def new_tunnel() -> Tunnel:
            return Tunnel(around.constant, call.config, handle.gate, handle.headers, handle.body)

        return Talk(
            call,
            conversation,
            handle.curl,
            handle.gate,
            handle.body,
            private=private,
            shapes=around.shapes,
            refusal=around.refusal,
            monotonic=around.monotonic,
            new_tunnel=new_tunnel,
            is_made=is_made,
            names_path=handle.loaded.names_path,
        )
