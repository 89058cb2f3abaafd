"""Handlers: Python functions that tasks run by name. This is what users' modules import.

    from tasks_server import handlers, Context, Retry, Permanent

    @handlers.register("send-email", timeout=60, max_retries=5)
    async def send_email(payload: EmailPayload, context: Context) -> dict: ...

    send_email.enqueue(EmailPayload("a@b.example"), delay="5m")

Importing it brings the standard library alone: no store, no HTTP client, no JSON library.
"""

from tasks_server.handlers.context import Context, Permanent, Retry, Stopped
from tasks_server.handlers.enqueuing import connect
from tasks_server.handlers.registry import register

__all__ = ["Context", "Permanent", "Retry", "Stopped", "connect", "register"]
