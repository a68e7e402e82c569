"""What every command says and how: sentences on stderr, progress, exit codes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medq_vlm.pipeline import Progress
    from medq_vlm.schema import ImageSample

DONE, UNREADABLE, BELOW = 0, 3, 4
MANY_SLICES = 40  # from here on progress is shown in a log file too


def say(sentence: str) -> None:
    """One line on stderr, with control characters (a hostile file name) made visible."""
    shown = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in sentence)
    print(f"medq: {shown}", file=sys.stderr)


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
    """A bar on stderr over the slices of a volume: on a terminal always, elsewhere for many slices."""
    terminal = sys.stderr.isatty()
    if sample.slices == 1 or not (terminal or sample.slices >= MANY_SLICES):
        yield None
        return
    from tqdm import tqdm

    every_s = 0.1 if terminal else 10.0  # a log file is no place for an animation
    with tqdm(total=sample.slices, unit="slice", leave=False, file=sys.stderr, mininterval=every_s) as bar:

        def advance(done: int, total: int) -> None:
            bar.update(done - bar.n)

        yield advance
