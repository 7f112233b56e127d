"""Requests to an ASGI application, without a socket."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def request(
    application: Any,
    method: str,
    path: str,
    *,
    body: bytes = b"",
    headers: Mapping[str, str] | Sequence[tuple[bytes, bytes]] = (),
    query: bytes = b"",
) -> Answer:
    """The answer; a body comes in two parts."""
    given = headers.items() if isinstance(headers, Mapping) else headers
    named = [tuple(each.encode("latin-1") if isinstance(each, str) else each for each in pair) for pair in given]
    if not any(name.lower() == b"host" for name, _ in named):
        named.append((b"host", b"127.0.0.1:8000"))
    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http"}
    scope |= {"path": path, "raw_path": path.encode("utf-8", "replace"), "query_string": query, "root_path": ""}
    scope |= {"headers": named, "client": ("127.0.0.1", 5), "server": ("127.0.0.1", 8000), "state": {}}
    parts = [body[: len(body) // 2], body[len(body) // 2 :]]
    sent: list[Any] = []

    async def receive() -> Any:
        if not parts:
            return {"type": "http.disconnect"}
        part = parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(parts)}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(application(scope, receive, send))
    start = sent[0]
    return Answer(
        start["status"],
        {name.decode().lower(): value.decode() for name, value in start["headers"]},
        b"".join(message.get("body", b"") for message in sent[1:]),
    )


def post(application: Any, path: str, content: Any, **headers: str) -> Answer:
    """Of JSON."""
    return request(
        application,
        "POST",
        path,
        body=json.dumps(content).encode(),
        headers={"content-type": "application/json", **headers},
    )
