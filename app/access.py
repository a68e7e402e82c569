"""Who may reach the app: logins, and the addresses that need one."""

from __future__ import annotations

import contextlib
import hmac
import ipaddress
from collections.abc import Callable, Sequence
from pathlib import Path

from medq_vlm.schema import MedQError

AUTH_VARIABLE = "MEDQ_AUTH"
Credentials = list[tuple[str, str]]


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
