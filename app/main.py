"""Start the app: python -m app [--host HOST] [--port PORT] [--auth USER:PASSWORD] [--preset NAME] [--precision nf4]."""

from __future__ import annotations

import argparse
import contextlib
import hmac
import ipaddress
import logging
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from medq_vlm.schema import MedQError

PORT = 7860
SWEEP_S = 15.0
UPLOAD_KEPT_S = 60.0  # an upload that no event has read or waits to read by then was interrupted
AUTH_VARIABLE = "MEDQ_AUTH"
Credentials = list[tuple[str, str]]


def parser() -> argparse.ArgumentParser:
    """The arguments of `python -m app` and `medq chat`."""
    out = argparse.ArgumentParser(prog="medq chat", description="The reading room: assess, review and report images.")
    out.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1: this computer alone)"
    )
    out.add_argument("--port", type=int, default=PORT, help=f"default {PORT}")
    out.add_argument("--auth", action="append", metavar="USER:PASSWORD",
                     help=f"login, may be repeated; @FILE reads one a line; or set {AUTH_VARIABLE}. "
                     "Needed for any other host than this computer")  # fmt: skip
    out.add_argument("--preset", default="nano", metavar="NAME", help="nano, or a folder with weights")
    out.add_argument("--precision", choices=("nf4", "bf16", "fp32"), default="nf4", help="of the language model")
    return out


def credentials(given: Sequence[str] | None, environment: str = "") -> Credentials:
    """User and password pairs out of the arguments or the environment. Raises MedQError for an unusable one."""
    lines: list[str] = []
    for one in given or ([environment] if environment else []):
        if one.startswith("@"):
            try:
                lines += Path(one[1:]).read_text(encoding="utf-8").split("\n")
            except (OSError, UnicodeDecodeError):
                raise MedQError(f"The login file {one[1:]} cannot be read.") from None
        else:
            lines.append(one)
    out = []
    for line in lines:
        if not line.strip():
            continue
        user, colon, password = line.strip().partition(":")
        if not colon or not user or not password:
            raise MedQError("A login is written USER:PASSWORD.")
        out.append((user, password))
    return out


def check_host(host: str, logins: Credentials) -> None:
    """Raises MedQError when others could reach the app without a login."""
    if not is_loopback(host) and not logins:
        raise MedQError(
            f"With --host {host} others can reach the app, so a login is needed: give --auth USER:PASSWORD "
            f"or set {AUTH_VARIABLE}, and put the app behind HTTPS."
        )


def is_loopback(host: str) -> bool:
    """True for this computer alone."""
    if host == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    return False


def checker(logins: Credentials) -> Callable[[str, str], bool]:
    """Compare a login in constant time."""

    def check(user: str, password: str) -> bool:
        fits = [
            hmac.compare_digest(user.encode(), name.encode())
            & hmac.compare_digest(password.encode(), secret.encode())
            for name, secret in logins
        ]  # fmt: skip
        return any(fits)

    return check


def private_cache() -> Path:
    """A new folder that this user alone may enter, for uploads on their way into memory."""
    folder = Path(tempfile.mkdtemp(prefix="medq-"))
    os.environ["GRADIO_TEMP_DIR"] = str(folder)  # read when gradio is imported
    return folder


def main(argv: Sequence[str] | None = None) -> int:
    """Run until interrupted; returns the exit code."""
    args = parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    cache: Path | None = None
    try:
        logins = credentials(args.auth, os.environ.get(AUTH_VARIABLE, ""))
        check_host(args.host, logins)
        cache = private_cache()
        from app.serve import serve

        serve(args.host, args.port, logins, (args.preset, args.precision), cache)
    except MedQError as error:
        print(f"medq: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        pass
    finally:
        if cache is not None:
            from app.intake import empty

            empty(cache)
    return 0


def every(seconds: float, work: Callable[[], object]) -> threading.Event:
    """Call `work` again and again until the event is set."""
    ended = threading.Event()

    def loop() -> None:
        while not ended.wait(seconds):
            work()

    threading.Thread(target=loop, name="sweep", daemon=True).start()
    return ended
