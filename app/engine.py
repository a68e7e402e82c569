"""The one loaded model, shared by all pages: assess with progress and stop, heat maps, the way out of a full GPU."""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import torch

from app.store import Study
from medq_vlm.language import base, shipped
from medq_vlm.pipeline import EncodedImage, MedQ, Progress
from medq_vlm.restoring import Restored
from medq_vlm.schema import Assessment, MedQError
from medq_vlm.vocab import KIND

LOG = logging.getLogger("medq.app")
HEAT_KEPT = 24  # heat maps of one study
AT_ONCE = 2  # assessments that run at the same time; the rest waits in the queue
T = TypeVar("T")


class Stopped(Exception):
    """The assessment was stopped by its user."""


@dataclass(frozen=True)
class Step:
    """How far an assessment or restoration is. `result` and what belongs to it are set on the last one."""

    done: int
    total: int
    left_s: float | None
    result: Assessment | None = None
    encoded: EncodedImage | None = None
    restored: Restored | None = None


class Engine:
    """The model and what it may be asked for; holds nothing of any image."""

    def __init__(self, medq: MedQ, preset: str = "nano") -> None:
        self.medq = medq
        self.preset = preset
        self.fell_back = False  # the GPU was full and the model moved to the CPU
        self._heat = threading.Semaphore(AT_ONCE)
        self._talk = threading.Lock()
        self._falling = threading.Lock()

    @classmethod
    def load(cls, preset: str = "nano", precision: str = "nf4") -> Engine:
        """Load a preset; `precision` is the language model's. Raises ModelError."""
        return cls(MedQ.load(preset, precision), preset)

    @property
    def device(self) -> str:
        """Where the model is: "cpu", "cuda:0"."""
        return str(next(self.medq.checkpoint.model.parameters()).device)

    @property
    def precision(self) -> str:
        """Number format of the scorer's weights as they compute, e.g. "float32"."""
        return str(next(self.medq.checkpoint.model.parameters()).dtype).removeprefix("torch.")

    @cached_property
    def language(self) -> str:
        """Base and precision of the language model, "" when one of its files is missing: then there is no chat."""
        try:
            meta = json.loads((self.medq.folder / shipped.META_FILE).read_text(encoding="utf-8"))
            base.locate()
        except (OSError, ValueError, MedQError):
            return ""
        name = "SmolLM2-135M-Instruct" if meta["base"] == shipped.PACKAGED else str(meta["base"])
        return f"{name}, {self.medq.precision}" if (self.medq.folder / shipped.WEIGHTS_FILE).is_file() else ""

    @cached_property
    def restores(self) -> bool:
        """Whether the restoration network is there; without it its tab is hidden."""
        try:
            return self.medq.restorer is not None
        except MedQError:
            return False

    def warm(self) -> None:
        """Load the language model now, so that the first answer need not wait for it."""
        if self.language:
            with self._talk:
                _ = self.medq.talker

    def talk(self, study: Study, question: str) -> Iterator[str]:
        """The answer about an assessed study, piece by piece; `study.hush` ends it. Raises MedQError."""
        if study.encoded is None or study.result is None:
            raise MedQError("This study was not assessed yet.")
        self.warm()
        history = list(study.chat)
        encoded, result = study.encoded, study.result
        yield from self._spoken(lambda: self.medq.ask(encoded, result, question, history, study.hush.is_set))

    def weigh(self, first: Study, second: Study) -> Iterator[str]:
        """Which of two assessed studies is better and why, piece by piece. Raises MedQError."""
        if first.encoded is None or first.result is None or second.encoded is None or second.result is None:
            raise MedQError("Both studies must be assessed before they can be compared.")
        self.warm()
        pair = (first.encoded, first.result), (second.encoded, second.result)
        yield from self._spoken(lambda: self.medq.compare(*pair))

    def assess(self, study: Study, acquisition: str | None = None, anatomy: str | None = None) -> Iterator[Step]:
        """Assess and say how far it is after every slice; the last step holds the result.

        `acquisition` and `anatomy` are a person's words, and the study's modality may be a person's choice.
        Closing the iterator, or `study.stop`, ends the work after the slice at hand. Raises Stopped or MedQError.
        """

        def work(progress: Progress) -> Step:
            told = {"modality": study.modality, "anatomy": anatomy, "acquisition": acquisition}
            sample = study.sample.told(**told)
            encoded = self.guarded(lambda: self.medq.encode(sample, progress))
            result = self.guarded(lambda: self.medq.assess_encoded(encoded))
            for name in ("modality", "anatomy"):
                if told[name] is not None:
                    result = replace(result, **{name: replace(getattr(result, name), from_="user")})
            return Step(sample.slices, sample.slices, 0.0, result, encoded)

        yield from self._steps(study.fresh_stop(), work)

    def restore(self, study: Study, description: str | None = None) -> Iterator[Step]:
        """Restore an assessed study and assess what came of it; steps count the slices twice.

        A person's `description` overrules the findings. Ends as `assess` does. Raises Stopped or MedQError.
        """
        before, slices = study.result, study.sample.slices
        if before is None:
            raise MedQError("This study was not assessed yet.")

        def work(progress: Progress) -> Step:
            def first(done: int, total: int) -> None:
                progress(done, 2 * total)

            def second(done: int, total: int) -> None:
                progress(total + done, 2 * total)

            restored = self.guarded(lambda: self.medq.restored(study.sample, before, description, first))
            made = restored.restoration
            after = before
            if not made.unchanged:
                sample = replace(made.sample, acquisition=before.acquisition)
                after = self.guarded(lambda: self.medq.assess_sample(sample, None, second))
            return Step(2 * slices, 2 * slices, 0.0, after, None, restored)

        yield from self._steps(study.fresh_stop_restoring(), work)

    def _steps(self, stop: threading.Event, work: Callable[[Progress], Step]) -> Iterator[Step]:
        """What `work` in a thread of its own says of its progress, then the step it returns; `stop` ends it."""
        steps: queue.Queue[Step | BaseException] = queue.Queue()
        left = threading.Event()  # nobody waits any more: ends this run alone
        begun = time.monotonic()

        def progress(done: int, total: int) -> None:
            if stop.is_set() or left.is_set():
                raise Stopped
            spent = time.monotonic() - begun
            steps.put(Step(done, total, spent / done * (total - done)))

        def run() -> None:
            try:
                steps.put(work(progress))
            except BaseException as error:  # handed to the thread that waits
                steps.put(error)

        thread = threading.Thread(target=run, name="model", daemon=True)
        thread.start()
        try:
            while True:
                step = steps.get()
                if isinstance(step, BaseException):
                    raise step
                yield step
                if step.result is not None:
                    return
        finally:
            left.set()

    def heat(self, study: Study, index: int, kind: str) -> object:
        """Heat map of a kind on a slice, float (H, W); kept for the next time. Raises MedQError."""
        if kind not in KIND:
            raise MedQError("There is no such finding.")
        key = (index, kind)
        kept = study.heat.get(key)
        if kept is not None:
            return kept
        with self._heat:
            scored = study.encoded.scored if study.encoded else ()
            scores = scored[index] if scored else self.guarded(lambda: self.medq.score_slice(study.sample, index))
            heat = self.guarded(lambda: self.medq.heat(study.sample, scores, kind))
        study.heat[key] = heat
        while len(study.heat) > HEAT_KEPT:
            study.heat.popitem(last=False)
        return heat

    def guarded(self, work: Callable[[], T]) -> T:
        """Run `work`; when the GPU is full, go on with the CPU and run it again. Raises MedQError."""
        try:
            return work()
        except torch.OutOfMemoryError:
            self._to_cpu()
            try:
                return work()
            except torch.OutOfMemoryError:
                raise MedQError("There is not enough memory for this image; give a part of it.") from None
        except MemoryError:
            raise MedQError("There is not enough memory for this image; give a part of it.") from None

    def _spoken(self, begin: Callable[[], Iterator[str]]) -> Iterator[str]:
        """What `begin` says; when the GPU is full, it is begun again on the CPU. Raises MedQError."""
        said = False
        try:
            for piece in begin():
                said = True
                yield piece
        except torch.OutOfMemoryError:
            self._to_cpu()
            if said:
                raise MedQError("The graphics card was full: the model runs on the processor now, so please ask "
                                "again.") from None  # fmt: skip
            yield from begin()

    def _to_cpu(self) -> None:
        """Once is enough, whoever finds the GPU full."""
        with self._falling:
            if not self.fell_back:
                LOG.warning("the GPU is out of memory: going on with the CPU")
                self.medq.leave_gpu()
                self.fell_back = True
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
