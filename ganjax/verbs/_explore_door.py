"""Who may come in to `ganjax explore`: this machine's own pages, asking by a name that is this machine's.

A page of somebody else's, open in the same browser, can send requests to 127.0.0.1, and a name of somebody else's can
be made to lead there (DNS rebinding). The first is told by the headers ``Origin`` and ``Sec-Fetch-Site``, which a page
cannot forge, the second by ``Host``.
"""

import ipaddress
import json
import logging
import re
import socket
from collections.abc import Sequence
from typing import Any

_logger = logging.getLogger("ganjax")
_HOST = re.compile(r"(?P<name>[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Door:
    """An ASGI application behind a door."""

    def __init__(self, application: Any, *, host: str) -> None:
        """Opens nothing.

        Args:
            application: what is behind it.
            host: the address that the server listens on, as the user gave it.
        """
        self._application = application
        self._names = {"localhost", host.lower()}
        self._anywhere = not is_loopback(host)
        if self._anywhere:
            self._names |= {socket.gethostname().lower(), socket.getfqdn().lower()}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answers, or lets the application answer."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            return
        refusal = self._refusal(scope)

        async def send_safely(message: Any) -> None:
            if message["type"] == "http.response.start":
                ours = [(name.lower().encode(), text.encode()) for name, text in _HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", ()), *ours]}
            await send(message)

        if refusal is None:
            try:
                await self._application(scope, receive, send_safely)
            except Exception as error:  # which is answered; the server would print all that led to it
                _logger.error("%s: %s", type(error).__name__, " ".join(str(error).split())[:500])
            return
        status, text = refusal
        kind = [(b"content-type", b"application/json")]
        await send_safely({"type": "http.response.start", "status": status, "headers": kind})
        await send_safely({"type": "http.response.body", "body": json.dumps({"error": text}).encode()})

    def _refusal(self, scope: Any) -> tuple[int, str] | None:
        """The status and the reason, where somebody may not come in."""
        headers: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
        if not scope["query_string"].isascii():
            return 400, "the address is not written as addresses are"
        hosts = headers.get("host", [])
        found = _HOST.fullmatch(hosts[0]) if len(hosts) == 1 else None
        if found is None:
            return 400, "the request names no host"
        if not self._is_ours(found["name"].lower()):
            return 403, f"this server does not answer to the name {hosts[0]}; open it by its address"
        origins = headers.get("origin", [])
        if any(origin not in (f"http://{hosts[0]}", f"https://{hosts[0]}") for origin in origins):
            return 403, "the request comes from another page"
        sites: Sequence[str] = headers.get("sec-fetch-site", [])
        if scope["method"] not in ("GET", "HEAD") and any(site not in ("same-origin", "none") for site in sites):
            return 403, "the request comes from another page"
        return None

    def _is_ours(self, name: str) -> bool:
        if name in self._names:
            return True
        try:
            address = ipaddress.ip_address(name.strip("[]"))
        except ValueError:  # a name, which may be made to lead anywhere
            return False
        return self._anywhere or address.is_loopback


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
