"""From paths to assessed images: what `medq` commands that look at an image have in common."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from medq_vlm.console import progress_bar, say

if TYPE_CHECKING:
    from medq_vlm.pipeline import EncodedImage, MedQ
    from medq_vlm.schema import Assessment, ImageSample


class Assessed(NamedTuple):
    """One image, what the model says of it, and the model, which can be asked for more."""

    model: MedQ
    encoded: EncodedImage
    result: Assessment

    @property
    def sample(self) -> ImageSample:
        return self.encoded.sample


class Reader:
    """The images behind paths; what cannot be read is named on stderr and counted, and the rest goes on."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = paths
        self.failed = 0

    def __iter__(self) -> Iterator[ImageSample]:
        from medq_vlm import io
        from medq_vlm.io.outcome import PASSED_OVER
        from medq_vlm.schema import IngestError

        for outcomes in io.load_each(self.paths):
            told = False  # of this path
            for outcome in outcomes:
                if not isinstance(outcome, IngestError):
                    yield outcome
                elif not (told and outcome.code in PASSED_OVER):
                    say(str(outcome))
                    self.failed += 1
                told = True


def assessed(samples: Reader, args: Namespace) -> Iterator[Assessed]:
    """Assess images as they come, with what the user said of them."""
    from medq_vlm import io  # noqa: F401  before the thread below starts: two threads must not import one module

    if not any(map(is_there, samples.paths)):
        for _ in samples:  # names each path that is not there; no model is needed for that
            pass
        return
    with ThreadPoolExecutor(1) as pool:
        # importing torch takes as long as the reader's process
        loading = pool.submit(load_model, args.preset, not args.no_text, getattr(args, "restores", False))
        for sample in samples:
            yield assess_one(loading.result(), sample, args)


def is_there(path: str) -> bool:
    """Whether something is at the path and may be looked at."""
    try:
        return Path(path).exists()
    except OSError:
        return False


def load_model(preset: str, speaks: bool = False, restores: bool = False) -> MedQ:
    """The model, its language part too when it `speaks`, its restorer when it `restores`; importing is the slow part.

    Raises ModelError.
    """
    from medq_vlm import memory

    with memory.unsearched():
        from medq_vlm.pipeline import MedQ

        model = MedQ.load(preset)
        if speaks:
            _ = model.talker  # loaded now, so that a missing part is said before any image is read
        if restores:
            _ = model.restorer
    return model


def assess_one(model: MedQ, sample: ImageSample, args: Namespace) -> Assessed:
    """Assess one image; what the user says of it counts more than its header."""
    sample = sample.told(args.modality, args.anatomy, args.acquisition)
    with progress_bar(sample) as progress:
        encoded = model.encode(sample, progress)
    result = model.assess_encoded(encoded, getattr(args, "prompt", ()))
    if args.modality:
        result = replace(result, modality=replace(result.modality, from_="user"))
    if args.anatomy:
        result = replace(result, anatomy=replace(result.anatomy, from_="user"))
    text = "" if args.no_text else "".join(model.describe(encoded, result))
    return Assessed(model, encoded, replace(result, description=text))
