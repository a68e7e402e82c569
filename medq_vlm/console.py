"""What every command says and how: sentences on stderr, progress, exit codes."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medq_vlm.pipeline import Progress
    from medq_vlm.schema import ImageSample

DONE, UNREADABLE, BELOW = 0, 3, 4
INTERRUPTED, BROKEN_PIPE = 130, 141  # 128 + SIGINT, 128 + SIGPIPE: what a shell expects
MANY_SLICES = 40  # from here on progress is shown in a log file too
LINE_EVERY_S = 10.0  # there


def say(sentence: str) -> None:
    """One line on stderr, with control characters (a hostile file name) made visible."""
    shown = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in sentence)
    with suppress(OSError):  # there is no other place to say that stderr is closed or full
        print(f"medq: {shown}", file=sys.stderr, flush=True)


def usage(sentence: str) -> Exception:
    """A MedQError (exit code 2) to raise; its module loads numpy, so it is fetched only when it is needed."""
    from medq_vlm.schema import MedQError

    return MedQError(sentence)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a failed write to `path` into one sentence."""
    try:
        yield
    except OSError as error:
        raise usage(
            f"'{path}' cannot be written ({error.strerror or 'unknown reason'}); choose another place."
        ) from None


@contextmanager
def progress_bar(sample: ImageSample) -> Iterator[Progress | None]:
    """Progress over the slices of a volume on stderr: a bar on a terminal, elsewhere whole lines for many slices."""
    if sample.slices == 1 or not (sys.stderr.isatty() or sample.slices >= MANY_SLICES):
        yield None
    elif sys.stderr.isatty():
        from tqdm import tqdm

        with tqdm(total=sample.slices, unit="slice", leave=False, file=sys.stderr) as bar:

            def advance(done: int, total: int) -> None:
                bar.update(done - bar.n)

            yield advance
    else:
        told = -math.inf

        def line(done: int, total: int) -> None:
            nonlocal told
            if time.monotonic() - told >= LINE_EVERY_S:
                told = time.monotonic()
                say(f"{done} of {total} slices")

        yield line
