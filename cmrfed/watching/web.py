"""Pages over HTTP for a few people of one house: who may see one, and what a press of a button needs.

A page is reached by the names of this machine's loopback alone, unless it is told an address: a name that somebody else
has pointed here (DNS rebinding) is refused by its Host header. No other origin may read anything (no CORS), embed it,
or have it load anything (a strict Content-Security-Policy: nothing but the style and script that are in the page).

Loopback is open to every account of a machine. So a page with a secret is reached by a link that holds a random token
and is printed on the terminal of whoever started it. It sets a cookie for that page's own random path, which no script
reads (HttpOnly) and no other site's link sends (SameSite=Strict); the path, since a browser sends a host's cookies to
all of its ports. A button's form holds another secret, and its Origin must be the page itself. All secrets are compared
in constant time, and end with the process.
"""

import hmac
import ipaddress
import secrets
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cmrfed.config import UserError

LOOPBACK = "127.0.0.1"
_LOOPBACK_NAMES = ("127.0.0.1", "localhost", "::1")
_LARGEST_FORM = 10_000
"""Bytes; a button's form has two or three short fields."""
_MOST_AT_ONCE = 32
_COOKIE = "cmrfed"

Fields = Mapping[str, str]


@dataclass(frozen=True)
class Visit:
    """What a page is shown for: the fields of its address, and the secret that the forms in it must send."""

    fields: Fields
    form_secret: str


@dataclass(frozen=True)
class Page:
    """title: what it is called on the terminal. shown: HTML by path, "" being the page itself. data: JSON by path.
    buttons: what a press does, by name, given its form's fields; may raise UserError. failed: HTML for what went wrong.
    content_policy: its Content-Security-Policy."""

    title: str
    shown: Mapping[str, Callable[[Visit], str]]
    failed: Callable[[str], str]
    content_policy: str
    data: Mapping[str, Callable[[], str]] = field(default_factory=dict)
    buttons: Mapping[str, Callable[[Fields], object]] = field(default_factory=dict)


@dataclass(frozen=True)
class Secrets:
    """Of one process: in the link, in the cookie, in the forms, and the page's own path."""

    token: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    session: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    form: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    place: str = field(default_factory=lambda: f"/{secrets.token_urlsafe(9)}")


def serve(page: Page, address: str, port: int, secret: bool, say: Callable[[str], None]) -> None:
    """Serve a page until interrupted; `say` is told its link. Port 0 is any that is free.

    Raises UserError where the address cannot be listened at.
    """
    with _listening(address, port) as listener:
        known = Secrets() if secret else None
        link = link_of(address, listener.getsockname()[1], known)
        say(f"{page.title}: {link} (Ctrl-C ends it)")
        _server(application(page, address, known)).run(sockets=[listener])


def link_of(address: str, port: int, known: Secrets | None) -> str:
    host = f"[{address}]" if ":" in address else address
    return f"http://{host}:{port}" + (f"{known.place}/?token={known.token}" if known else "/")


def is_loopback(address: str) -> bool:
    """Whether nobody reaches the address from another machine."""
    with suppress(ValueError):
        return ipaddress.ip_address(address).is_loopback
    return address == "localhost"


def application(page: Page, address: str, known: Secrets | None) -> ASGIApp:
    """What answers. `known` is None for a page without a secret, which has no buttons."""
    if page.buttons and known is None:
        raise ValueError("a page with buttons needs its secrets")
    place = known.place if known else ""
    visit = known.form if known else ""
    routes = [Route(f"{place}/{path}", _showing(page, show, visit)) for path, show in page.shown.items()]
    routes += [Route(f"{place}/{path}", _telling(page, tell)) for path, tell in page.data.items()]
    routes += [
        Route(f"{place}/{name}", _pressing(page, press, visit, place), methods=["POST"])
        for name, press in page.buttons.items()
    ]
    return _Guard(Starlette(routes=routes), address, known, page.content_policy)


def _showing(page: Page, show: Callable[[Visit], str], form_secret: str) -> Callable[[Request], Response]:
    def shown(request: Request) -> Response:
        try:
            return HTMLResponse(show(Visit(request.query_params, form_secret)))
        except UserError as error:
            return HTMLResponse(page.failed(str(error)), 500)

    return shown


def _telling(page: Page, tell: Callable[[], str]) -> Callable[[Request], Response]:
    def told(request: Request) -> Response:
        try:
            return Response(tell(), media_type="application/json")
        except UserError as error:
            return PlainTextResponse(str(error), 500)

    return told


def _pressing(page: Page, press: Callable[[Fields], object], form_secret: str, place: str) -> Callable[..., object]:
    async def pressed(request: Request) -> Response:
        form = await _form(request)
        if form is None or not _same(form.get("secret", ""), form_secret):
            return PlainTextResponse("this form is not of this page, or of an earlier one: load the page again", 403)
        try:
            await run_in_threadpool(press, form)
        except UserError as error:
            return HTMLResponse(page.failed(str(error)), 409)
        return RedirectResponse(f"{place}/", 303)

    return pressed


async def _form(request: Request) -> Fields | None:
    """The fields of a form; None for what is none, or more than one has."""
    if request.headers.get("content-type", "").partition(";")[0] != "application/x-www-form-urlencoded":
        return None
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > _LARGEST_FORM:
            return None
    with suppress(ValueError):
        return dict(parse_qsl(content.decode(errors="replace"), max_num_fields=20))
    return None


class _Guard:
    """Lets through who may see the page, and has every answer say what a browser may do with it."""

    def __init__(self, inner: ASGIApp, address: str, known: Secrets | None, content_policy: str) -> None:
        self._inner, self._address, self._known = inner, address, known
        self._headers = {
            "content-security-policy": content_policy,
            "cache-control": "no-store",
            "referrer-policy": "same-origin",  # with less, browsers keep a form's Origin to themselves
            "x-content-type-options": "nosniff",
            "x-frame-options": "DENY",
            "cross-origin-opener-policy": "same-origin",
            "cross-origin-resource-policy": "same-origin",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        await (self._instead(Request(scope)) or self._inner)(scope, receive, sent)

    def _instead(self, request: Request) -> Response | None:
        """What is answered in the place of the page; None where it may be seen."""
        if not self._is_ours(request.headers.get("host", "")):
            return PlainTextResponse("this page has another name: use the link that was printed", 421)
        if request.method not in ("GET", "HEAD", "POST"):
            return PlainTextResponse("no such request", 405)
        if request.method == "POST" and not _from_itself(request):
            return PlainTextResponse("a button is pressed on its own page alone", 403)
        return self._unless_known(request, self._known) if self._known else None

    def _unless_known(self, request: Request, known: Secrets) -> Response | None:
        token = request.query_params.get("token")
        if request.method == "GET" and token is not None and _same(token, known.token):
            answer = RedirectResponse(f"{known.place}/", 303)
            answer.set_cookie(_COOKIE, known.session, path=f"{known.place}/", httponly=True, samesite="strict")
            return answer
        if _same(request.cookies.get(_COOKIE, ""), known.session):
            return None
        return PlainTextResponse("this page needs the whole link that was printed where it was started", 403)

    def _is_ours(self, host: str) -> bool:
        """A Host header by which we are known. An address in figures nobody else can point here."""
        name = ""
        with suppress(ValueError):
            name = urlsplit(f"//{host}").hostname or ""
        if is_loopback(self._address):
            return name in _LOOPBACK_NAMES
        return name in _LOOPBACK_NAMES or name == self._address.lower() or _is_figures(name)


def _from_itself(request: Request) -> bool:
    """Whether a browser says that a form was on this very page."""
    origin, host = request.headers.get("origin", ""), request.headers.get("host", "")
    site = request.headers.get("sec-fetch-site", "same-origin")
    return origin in (f"http://{host}", f"https://{host}") and site == "same-origin"


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())


def _is_figures(name: str) -> bool:
    with suppress(ValueError):
        return bool(ipaddress.ip_address(name))
    return False


def _listening(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return socket.create_server((address, port), family=family)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"port, address: {address}:{port} cannot be listened at ({reason}); give others") from None


def _server(app: ASGIApp) -> uvicorn.Server:
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            log_level="warning",
            access_log=False,
            server_header=False,
            limit_concurrency=_MOST_AT_ONCE,
            timeout_graceful_shutdown=2,
        )
    )
