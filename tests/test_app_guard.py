"""The guard in front of Gradio: few paths exist, sessions belong to browsers, bodies have limits."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.guard import COOKIE, SMALL_BODY, Guard, Message, Receive, Send, served

A, B = f"{COOKIE}=aaa", f"{COOKIE}=bbb"


async def inner(scope: Message, receive: Receive, send: Send) -> None:
    """Reads the body and answers 200 with its length."""
    total = 0
    while True:
        message = await receive()
        total += len(message.get("body", b""))
        if not message.get("more_body"):
            break
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(total).encode()})


def call(
    guard: Guard, path: str, *, method: str = "GET", query: str = "", cookie: str = "", body: bytes = b"",
    length: int | None = None,
) -> tuple[int, dict[bytes, bytes]]:  # fmt: skip
    """Status and headers of one request."""
    headers = [(b"cookie", cookie.encode())] if cookie else []
    if length is not None:
        headers.append((b"content-length", str(length).encode()))
    scope: Message = {"type": "http", "path": path, "method": method, "query_string": query.encode(),
                      "headers": headers, "scheme": "http"}  # fmt: skip
    sent: list[Any] = []
    parts = [body[n : n + 1024 * 1024] for n in range(0, len(body), 1024 * 1024)] or [b""]

    async def receive() -> Message:
        part = parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(parts)}

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(guard({**scope}, receive, send))
    return sent[0]["status"], dict(sent[0]["headers"])


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=/etc/passwd", "/gradio_api/file/etc/passwd", "/file=/etc/passwd",
        "/gradio_api/file=..%2f..%2fx",
        "/gradio_api/file=\\\\host\\share", "/gradio_api/proxy=http://example", "/monitoring", "/monitoring/summary",
        "/gradio_api/stream/x/y/z/playlist.m3u8", "/gradio_api/process_recording", "/gradio_api/deep_link",
        "/gradio_api/runs", "/gradio_api/run-history/records", "/gradio_api/mcp/sse", "/gradio_api/component_server",
        "/gradio_api/custom_component/a/b/c/d", "/static/../../etc/passwd", "/assets/..%2f..%2fetc/passwd",
        "//etc/passwd",
        "/docs", "/openapi.json", "/gradio_api/openapi.json", "/gradio_api/dev/reload",
    ],
)  # fmt: skip
def test_nothing_is_served_by_path(path: str) -> None:
    assert not served(path)
    assert call(Guard(inner, 100), path)[0] == 403


@pytest.mark.parametrize(
    "path", ["/", "/config", "/assets/index-abc.js", "/gradio_api/info", "/gradio_api/upload", "/gradio_api/queue/join",
             "/gradio_api/heartbeat/abc123", "/gradio_api/call/assess", "/gradio_api/call/assess/0a1b", "/health"],
)  # fmt: skip
def test_what_the_page_needs_is_served(path: str) -> None:
    assert call(Guard(inner, 100), path)[0] == 200


def test_a_session_belongs_to_the_browser_that_began_it() -> None:
    guard = Guard(inner, 100)
    assert call(guard, "/gradio_api/heartbeat/s1", cookie=A)[0] == 200
    assert call(guard, "/gradio_api/queue/data", query="session_hash=s1", cookie=A)[0] == 200
    assert call(guard, "/gradio_api/queue/data", query="session_hash=s1", cookie=B)[0] == 403
    assert call(guard, "/gradio_api/queue/data", query="session_hash=s1")[0] == 403
    body = b'{"session_hash": "s1", "data": []}'
    assert call(guard, "/gradio_api/queue/join", method="POST", cookie=A, body=body)[0] == 200
    for path in ("/gradio_api/queue/join", "/gradio_api/cancel", "/gradio_api/run/predict"):
        assert call(guard, path, method="POST", cookie=B, body=body)[0] == 403


def test_large_bodies_are_refused_declared_or_not() -> None:
    guard = Guard(inner, 3 * 1024 * 1024)
    assert call(guard, "/gradio_api/upload", method="POST", length=2 * 1024**3)[0] == 413
    assert call(guard, "/gradio_api/upload", method="POST", body=b"x" * (4 * 1024 * 1024))[0] == 413
    assert call(guard, "/gradio_api/upload", method="POST", body=b"x" * 1024)[0] == 200
    assert call(guard, "/gradio_api/queue/join", method="POST", body=b"x" * (SMALL_BODY + 1))[0] == 413


def test_the_page_may_talk_to_this_server_alone_and_gets_a_secret() -> None:
    status, headers = call(Guard(inner, 100), "/")
    assert status == 200
    policy = headers[b"content-security-policy"].decode()
    assert "default-src 'self'" in policy and "connect-src 'self'" in policy and "http" not in policy
    cookie = headers[b"set-cookie"].decode()
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
    assert headers[b"cache-control"] == b"no-store"
    assert b"set-cookie" not in call(Guard(inner, 100), "/", cookie=A)[1]
