"""Start the app: python -m app [--host HOST] [--port PORT] [--auth USER:PASSWORD] [--preset NAME] [--precision nf4]."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from app.access import AUTH_VARIABLE, check_host, credentials
from medq_vlm.schema import MedQError

PORT = 7860


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
