"""Signs a call by Standard Webhooks: three header lines over the message's id, the time and the very bytes sent."""

from binascii import b2a_base64
from hmac import digest

from tasks_server.engine.calls import Call


def signature_lines(call: Call, body: bytes | None) -> list[bytes]:
    """The header lines that sign a call, one signature for each of its keys. None for a body that is not sent."""
    message, stamp = call.message.encode(), b"%d" % (call.start_at // 1_000)
    content = b"%b.%b.%b" % (message, stamp, body or b"")
    signatures = [b"v1," + b2a_base64(digest(key, content, "sha256"), newline=False) for key in call.signing]
    return [
        b"webhook-id: " + message,
        b"webhook-timestamp: " + stamp,
        b"webhook-signature: " + b" ".join(signatures),
    ]
