"""Before any request reaches Gradio: which paths exist at all, whose session it is, how large it may be.

Gradio serves cached uploads by path to every user; here no path is served, uploads are gone once read, and all
pictures come from routes.py. The policy header keeps the page from talking to any other machine.
"""

from __future__ import annotations

import json
import re
import secrets
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

COOKIE = "medq_browser"
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)  # Gradio's own scripts are inline and evaluate templates; all that matters is that nothing leaves the machine
HEADERS = [
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
]
STATIC = re.compile(r"/(assets|static|svelte)/[\w./@+-]+|/theme\.css|/favicon\.ico|/manifest\.json|/robots\.txt")
ALLOWED = re.compile(
    r"/|/config/?|/login/?|/login_check/?|/logout/?|/health|/medq/.*"
    r"|/gradio_api/(info|upload|upload_progress|queue/join|queue/data|cancel|reset|startup-events|user|app_id|run/predict"
    r"|login_check|token|heartbeat/\w+(-\w+)*|call/\w+(/\w+)?|theme\.css)/?"
)
SMALL_BODY = 4 * 1024 * 1024  # of everything that is no upload
SESSIONS = 10_000
BODY_WITH_SESSION = ("/gradio_api/queue/join", "/gradio_api/cancel", "/gradio_api/run/predict")


class _TooLarge(Exception):
    """The body is over its limit."""


class Guard:
    """ASGI middleware; see the module's first lines."""

    def __init__(self, app: App, upload_bytes: int) -> None:
        self.app = app
        self.upload_bytes = upload_bytes
        self._owners: OrderedDict[str, str] = OrderedDict()  # session hash: cookie of the browser that began it
        self._lock = threading.Lock()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        path = scope["path"]
        if not served(path):
            return await _refuse(send, 403, "This path is not served.")
        cookie = browser_cookie(scope)
        limit = self.upload_bytes if path.rstrip("/") == "/gradio_api/upload" else SMALL_BODY
        if _declared(scope) > limit:
            return await _refuse(send, 413, "The upload is larger than the limit.")
        counted = _counted(receive, limit)
        session = _session_of_path(scope)
        started = False

        async def answer(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message = {**message, "headers": [*message.get("headers", []), *_headers(scope, cookie)]}
            await send(message)

        try:
            if path.rstrip("/") in BODY_WITH_SESSION:
                body = await _body(counted)
                session = _session_of_body(body)
                counted = _replay(body, receive)
            if session is not None and not self._belongs(session, cookie):
                return await _refuse(send, 403, "This session belongs to another browser.")
            await self.app(scope, counted, answer)
        except _TooLarge:
            if not started:
                await _refuse(send, 413, "The upload is larger than the limit.")

    def _belongs(self, session: str, cookie: str) -> bool:
        """The browser that used a session hash first keeps it: nobody else may listen to its events."""
        with self._lock:
            owner = self._owners.setdefault(session, cookie)
            self._owners.move_to_end(session)
            while len(self._owners) > SESSIONS:
                self._owners.popitem(last=False)
        return secrets.compare_digest(owner.encode(), cookie.encode())


def served(path: str) -> bool:
    """True for the few paths the page and the client need; dots and doubled slashes never."""
    if ".." in path or "//" in path or "\\" in path or "%" in path:
        return False
    return bool(STATIC.fullmatch(path) or ALLOWED.fullmatch(path))


def browser_cookie(scope: Message) -> str:
    """The browser's secret, "" when it sent none."""
    for name, value in scope.get("headers", []):
        if name == b"cookie":
            try:
                found = SimpleCookie(value.decode("latin-1")).get(COOKIE)
            except CookieError:
                return ""
            return found.value if found else ""
    return ""


def _headers(scope: Message, cookie: str) -> list[tuple[bytes, bytes]]:
    out = list(HEADERS)
    if not STATIC.fullmatch(scope["path"]):
        out.append((b"cache-control", b"no-store"))
    if not cookie and scope["method"] == "GET" and scope["path"] == "/":
        secure = "; Secure" if scope.get("scheme") == "https" else ""
        value = f"{COOKIE}={secrets.token_urlsafe(32)}; Path=/; HttpOnly; SameSite=Strict{secure}"
        out.append((b"set-cookie", value.encode()))
    return out


def _declared(scope: Message) -> int:
    for name, value in scope.get("headers", []):
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0


def _counted(receive: Receive, limit: int) -> Receive:
    """`receive` that counts what really comes. Raises _TooLarge."""
    total = 0

    async def inner() -> Message:
        nonlocal total
        message = await receive()
        total += len(message.get("body", b""))
        if total > limit:
            raise _TooLarge
        return message

    return inner


async def _body(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def inner() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return inner


def _session_of_path(scope: Message) -> str | None:
    path = scope["path"].rstrip("/")
    if path == "/gradio_api/queue/data":
        return parse_qs(scope.get("query_string", b"").decode("latin-1")).get("session_hash", [None])[0]
    if path.startswith("/gradio_api/heartbeat/"):
        return path.rsplit("/", 1)[1]
    return None


def _session_of_body(body: bytes) -> str | None:
    try:
        found = json.loads(body)
    except ValueError:
        return None
    session = found.get("session_hash") if isinstance(found, dict) else None
    return session if isinstance(session, str) else None


async def _refuse(send: Send, status: int, words: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), *HEADERS]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": words.encode()})
