"""Who is let in, and what every answer carries: the page is for the person at this machine, not for other web pages.

A page of somebody else's that is open in the same browser can send requests here. It is kept out three times over: by
the Host header (a name of its own that it has pointed at this machine, DNS rebinding), by Origin and Sec-Fetch-Site
(requests across origins, pictures in an `<img>` included), and by the headers of the answers. Bound to anything but
this machine itself, a random token is needed as well.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse

from clipcli.browse.answers import NO_TOKEN, REFUSED, WRONG_METHOD, Refusal, by_hand, in_words, refusal_response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Door", "Guard"]

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")
_METHODS = frozenset(("GET", "HEAD", "POST", "DELETE"))

# Of the page: nothing but its own files, and no text is ever taken for HTML or script.
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; font-src 'self'; "
    "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
# Of all else: a picture or an answer opened by itself can do nothing at all.
_ANSWER_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"
_EVERYWHERE = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    "X-Robots-Tag": "noindex",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Door:
    """What a request has to show. `names` are host names besides addresses; without `token` none is asked for.

    `only_here`: the server is bound to this machine alone, so that any other address in the Host header is a lie.
    """

    only_here: bool
    names: frozenset[str] = frozenset(("localhost",))
    token: str | None = None
    cookie: str = "clip"

    def __post_init__(self) -> None:
        if not self.only_here and not self.token:
            raise ValueError("a server that others can reach needs a token")

    def knows(self, host: str) -> bool:
        """Whether a Host header is this server's own. An address cannot be pointed elsewhere, a name can."""
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = match[1].strip("[]").lower()
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return name in self.names
        return address.is_loopback or not self.only_here

    def opens_for(self, token: str | None) -> bool:
        if self.token is None:
            return True
        return token is not None and hmac.compare_digest(token.encode(), self.token.encode())


class Guard:
    """The outermost layer of the application: refuses, and adds the headers."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self._app = app
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        if scope["type"] != "http":
            return
        page = scope["path"] == "/" or scope["path"].startswith("/page/")

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _EVERYWHERE.items():
                    headers[name] = value
                headers["Content-Security-Policy"] = _PAGE_POLICY if page else _ANSWER_POLICY
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        try:
            entering = self._let_in(scope)
        except Refusal as refusal:
            person = by_hand(scope["path"], Headers(scope=scope).get("accept", ""))
            refused = in_words(refusal) if person else refusal_response(refusal)
            await refused(scope, receive, guarded)
            return
        await (self._app if entering is None else entering)(scope, receive, guarded)

    def _let_in(self, scope: Scope) -> RedirectResponse | None:
        """None for a request to be answered; the way in for the first one with a token. Raises Refusal."""
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._door.knows(hosts[0]):
            raise Refusal(*REFUSED, "this address is not where the page lives; open the one that clip printed")
        if scope["method"] not in _METHODS:
            raise Refusal(*WRONG_METHOD, f"{scope['method']} is not understood here")
        _check_origin(scope, headers, hosts[0])
        if self._door.token is None or self._door.opens_for(_cookie(headers, self._door.cookie)):
            return None
        if scope["path"] == "/" and scope["method"] == "GET":
            given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [])
            if len(given) == 1 and self._door.opens_for(given[0]):
                answer = RedirectResponse("/", status_code=303)
                answer.set_cookie(self._door.cookie, self._door.token, httponly=True, samesite="strict", path="/")
                return answer
        raise Refusal(*NO_TOKEN, "open the whole address that clip printed, with its token")


def _check_origin(scope: Scope, headers: Mapping[str, str], host: str) -> None:
    """Raises Refusal for what another page has sent."""
    origin = headers.get("origin")
    if origin is not None and origin.lower() not in (f"http://{host}".lower(), f"https://{host}".lower()):
        raise Refusal(*REFUSED, "a request from another web page")
    if headers.get("sec-fetch-site") in (None, "same-origin", "none"):
        return
    # Somebody followed a link: the page itself may be opened from anywhere, as it tells nothing yet.
    followed = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    if not (followed and scope["path"] == "/" and scope["method"] in ("GET", "HEAD")):
        raise Refusal(*REFUSED, "a request from another web page")


def _cookie(headers: Mapping[str, str], name: str) -> str | None:
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return None
    return None if morsel is None else morsel.value
