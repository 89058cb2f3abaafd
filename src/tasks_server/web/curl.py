"""Commands to copy: a registration as curl."""

import shlex
from typing import Any

import msgspec


def registration(url: str, body: Any) -> str:
    """The command that registers this once more. Keys and masked secrets are to be filled in.

    >>> print(registration("http://h", {"httpRequest": {"url": "http://a/", "method": "GET"}}))
    curl -X POST http://h/v1/queues/register \\\\
      -H 'Authorization: Bearer KEY' -H 'Content-Type: application/json' \\\\
      -d '{"httpRequest":{"url":"http://a/","method":"GET"}}'
    """
    lines = [
        f"curl -X POST {shlex.quote(url + '/v1/queues/register')}",
        "  -H 'Authorization: Bearer KEY' -H 'Content-Type: application/json'",
        f"  -d {shlex.quote(msgspec.json.encode(body).decode())}",
    ]
    return " \\\n".join(lines)
