"""Which calls need a conversation, and the conversation of each."""

from tasks_server.engine.calls import Call
from tasks_server.engine.http.conversation import Conversation


def conversation_of(call: Call, agent_line: bytes) -> tuple[Conversation, bool] | None:
    """The conversation of a call with special options, and whether its connections are its own; None: one transfer
    is enough.
    """
    return None
