"""From an ImageSample to an Assessment: the one place where the parts meet.

medq = MedQ.load()
for assessment in medq.assess("scan.dcm"): ...
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from medq_vlm import __version__, checkpoint, evidence, findings, io, memory, purpose, slice_scores, stack, talk, vocab
from medq_vlm.annotations import NOTE, without_annotations
from medq_vlm.beside import worker
from medq_vlm.encoder import predict
from medq_vlm.encoder.preprocess import Canonical, canonical, resize
from medq_vlm.encoder.scorer import Scorer
from medq_vlm.evidence.statistics import features
from medq_vlm.judge import SMALLEST_SIDE_PX, Reading, able, as_one, judge, modality_id, reading, recognise
from medq_vlm.report.describe import describe
from medq_vlm.schema import Assessment, Finding, ImageSample, MedQError, plain_path
from medq_vlm.slice_scores import BINS, SliceScores, around, notes, rows, worst

if TYPE_CHECKING:
    from medq_vlm.language.talker import Subject, Talker
    from medq_vlm.restore import Restoration, Restorer
    from medq_vlm.restoring import Restored

Progress = Callable[[int, int], None]
Prompt = tuple[str, str]  # what a good image would be, what a bad one


@dataclass(frozen=True)
class EncodedImage:
    """An image and all that the scorer says of it: encode once, ask many."""

    sample: ImageSample
    scored: tuple[SliceScores, ...]
    stack: stack.Stack  # of the slices that count: `able`
    read: predict.EncodedSlice | None = field(default=None, compare=False, repr=False)  # of the only slice
    values: dict[str, float] | None = field(default=None, compare=False, repr=False)  # evidence of the only slice
    subjects: list[Subject] = field(default_factory=list, init=False, compare=False, repr=False)  # the last spoken of

    @property
    def able(self) -> tuple[SliceScores, ...]:
        """The slices that can be assessed, or all where none can."""
        return able(self.scored)


class MedQ:
    """A loaded model. Holds weights and nothing of any image."""

    def __init__(
        self, loaded: checkpoint.Checkpoint, folder: Path, precision: str = "nf4", home: Path | None = None
    ) -> None:
        self.checkpoint = loaded
        self.folder = folder  # where the language part lies; read on the first word
        self.home = home or folder  # the preset itself; its restorer is read when one is needed
        self.precision = precision  # of the language model: nf4, bf16 or fp32
        self._device: str | None = None  # of the language model; None: where it runs best
        self._read_prior: tuple[Scorer, str, torch.Tensor] | None = None  # the last description and its embedding

    @classmethod
    def load(cls, preset: str = "nano", precision: str = "nf4") -> MedQ:
        """Load a preset or a folder of weights. Raises ModelError (exit code 5) when missing or corrupt."""
        loaded, home = checkpoint.placed(checkpoint.load(preset)), checkpoint.preset_folder(preset)
        return cls(loaded, checkpoint.language_folder(preset), precision, home)

    @cached_property
    def talker(self) -> Talker:
        """The language model, loaded when it is first needed. Raises ModelError (exit code 5)."""
        from medq_vlm.language import shipped
        from medq_vlm.language.talker import Talker

        with memory.tight():
            return Talker(shipped.load(self.folder, self.precision, self._device))

    def leave_gpu(self) -> None:
        """Load what lies on a GPU again, on the CPU; work that has begun ends with the weights it has."""
        if self.checkpoint.anchors.is_cuda:
            self.checkpoint = checkpoint.load(str(self.home))
        self._device = "cpu"
        talker = self.__dict__.get("talker")
        if talker is not None and talker.model.device.type != "cpu":
            del self.talker  # loaded again by the next question

    @cached_property
    def restorer(self) -> Restorer:
        """The restoration network, loaded when it is first needed. Raises ModelError (exit code 5)."""
        from medq_vlm.restore import weights

        own = (self.home / weights.META_FILE).is_file()  # a scorer without a restorer of its own takes nano's
        return weights.load(self.home if own else weights.SHIPPED)

    @property
    def restorer_identity(self) -> dict[str, str]:
        """Name, version and weights' sha256 of the restoration network. Raises ModelError."""
        meta = self.restorer.meta
        return {"name": str(meta.get("name", "restorer")), "version": __version__, "sha256": str(meta["sha256"])}

    @property
    def identity(self) -> dict[str, str]:
        """Name, version and weights' sha256, as stamped on every result."""
        meta = self.checkpoint.meta
        sha256 = meta["sha256"][checkpoint.WEIGHTS_FILE]
        return {"name": str(meta["name"]), "version": __version__, "sha256": sha256}

    def assess(
        self, path: str | Path, acquisition: str | None = None, progress: Progress | None = None
    ) -> list[Assessment]:
        """Read a file, series folder or zip and assess each image or series in it. Raises IngestError, MedQError."""
        if not isinstance(path, str | os.PathLike) or not os.fspath(path):
            raise MedQError(
                "`assess` takes the path of a file, folder or zip; pixels go to assess_sample(ImageSample(...))."
            )
        return [self.assess_sample(sample, acquisition, progress) for sample in io.load(path)]

    def assess_sample(
        self, sample: ImageSample, acquisition: str | None = None, progress: Progress | None = None
    ) -> Assessment:
        """Assess one image or volume; `acquisition` replaces the description from the header."""
        return self.assess_encoded(self.encode(sample.told(acquisition=acquisition), progress))

    def encode(self, sample: ImageSample, progress: Progress | None = None) -> EncodedImage:
        """Score every slice; the result answers any number of questions. Raises MedQError for a wrong sample."""
        sample = without_annotations(sample.checked(), sample.modality)
        alone = sample.slices == 1
        readings, scored = [], []
        with worker() as beside:  # what is measured takes one core while the towers look
            # a modality that no header says is known only when the towers are done
            ahead = beside.submit(_values, sample, 0, sample.modality) if alone and sample.modality else None
            # a slice that is too small says so for all of them
            for index in range(1 if min(sample.pixels.shape[1:3]) < SMALLEST_SIDE_PX else sample.slices):
                read = self._read(sample, index, alone, beside)
                scored.append(judge(read, sample))
                if sample.modality is None:  # else nothing is judged again: a long series need not keep them
                    readings.append(read)
                if progress is not None:
                    progress(index + 1, sample.slices)
        if sample.modality is None:
            cleared = without_annotations(sample, scored[0].modality)
            if cleared is not sample and NOTE not in sample.warnings:
                return self.encode(cleared, progress)
            scored = as_one(readings, sample, scored)
        looked = stack.look(sample, able(scored), self.checkpoint.volume)
        values = None if ahead is None else ahead.result()
        return EncodedImage(sample, tuple(scored), looked, read.encoded if alone else None, values)

    def assess_encoded(self, encoded: EncodedImage, prompts: Sequence[Prompt] = ()) -> Assessment:
        """The assessment of an encoded image; `prompts` are (good, bad) texts in the user's own words."""
        result = self._combine(encoded)
        if not prompts or not result.assessable:
            return result
        texts = [text for pair in prompts for text in pair]
        with torch.no_grad():
            anchors = self.checkpoint.model.anchors(texts)[-len(texts) :].double().cpu().numpy()
        weights = np.array([row["weight"] for row in result.slices])
        logits = np.stack([s.embed @ anchors.T for s in encoded.scored if s.embed is not None])
        logits = logits.reshape(len(weights), -1, 2)
        good = weights @ (1.0 / (1.0 + np.exp(logits[..., 1] - logits[..., 0])))
        rows = [{"good": a, "bad": b, "score": float(p)} for (a, b), p in zip(prompts, good, strict=True)]
        return replace(result, prompts=tuple(rows))

    def restore(
        self, image: ImageSample | str | Path, assessment: Assessment | None = None, description: str | None = None,
        progress: Progress | None = None,
    ) -> Restoration:  # fmt: skip
        """The image restored, led by its assessment (made when not given) or by a person's `description`.

        What is good, or cannot be treated, comes back bit by bit with the reason among the warnings. Raises
        IngestError, ModelError, and MedQError for a path that holds several images.
        """
        if not isinstance(image, ImageSample):
            samples = io.load(image)
            if len(samples) > 1:
                raise MedQError(f"'{image}' holds {len(samples)} images or series; give one of them.")
            image = samples[0]
        result = self.assess_sample(image) if assessment is None else assessment
        return self.restored(image, result, description, progress).restoration

    def restored(
        self, sample: ImageSample, assessment: Assessment, description: str | None = None,
        progress: Progress | None = None,
    ) -> Restored:  # fmt: skip
        """`restore` with what led it and how the guard judged it."""
        from medq_vlm.restoring import restore

        return restore(sample, assessment, lambda: self.restorer, description, progress)

    def describe(self, image: ImageSample | EncodedImage, assessment: Assessment) -> Iterator[str]:
        """The language model's description, sentence by sentence. Raises ModelError (exit code 5)."""
        return self.talker.describe(talk.subject(self._encoded(image), assessment))

    def ask(
        self, image: ImageSample | EncodedImage, assessment: Assessment, question: str,
        history: Sequence[tuple[str, str]] = (), stop: Callable[[], bool] | None = None,
    ) -> Iterator[str]:  # fmt: skip
        """The answer to a question about an assessed image, piece by piece.

        `history` holds earlier (question, answer) pairs, oldest first; `stop` is asked before every token. Raises
        ModelError (exit code 5).
        """
        return self.talker.answer(talk.subject(self._encoded(image), assessment), question, history, stop)

    def compare(
        self, a: tuple[ImageSample | EncodedImage, Assessment], b: tuple[ImageSample | EncodedImage, Assessment]
    ) -> Iterator[str]:
        """Which of two assessed images is better, by how much and why. Raises MedQError when one has no score."""
        first, second = (talk.subject(self._encoded(image), assessment) for image, assessment in (a, b))
        for one in (first, second):
            if not one.assessment.assessable:
                raise MedQError(f"'{one.assessment.source['path']}' was not assessed: {one.assessment.reason}")
        return self.talker.compare(first, second)

    def _encoded(self, image: ImageSample | EncodedImage) -> EncodedImage:
        return image if isinstance(image, EncodedImage) else self.encode(image)

    def heat(
        self, sample: ImageSample, scores: SliceScores, kind: str, read: predict.EncodedSlice | None = None
    ) -> np.ndarray:
        """Where `kind` shows on a scored slice: float32 (H, W) of the native slice, 0 to 1, 0 outside the body box.

        Reads the slice once more unless it is given as `read`: a whole volume's maps would be too much.
        """
        loaded = self.checkpoint
        encoded = read or self._encode(loaded, sample, scores.index, maps=True)[1]
        heat = predict.heat_map(
            loaded.model, encoded, modality_id(scores.modality), loaded.anchors, vocab.KIND_NAMES.index(kind)
        )
        x0, y0, x1, y1 = scores.box
        out = np.zeros(sample.pixels.shape[1:3], np.float32)
        out[y0:y1, x0:x1] = np.clip(resize(heat, (y1 - y0, x1 - x0)), 0, 1)
        return out

    @staticmethod
    def _encode(
        loaded: checkpoint.Checkpoint, sample: ImageSample, index: int, maps: bool, beside: Executor | None = None
    ) -> tuple[Canonical, predict.EncodedSlice]:
        view = canonical(sample, index, loaded.view)
        measure = partial(features, view.plane, view.mask)
        statistics = measure if beside is None else beside.submit(measure).result
        return view, predict.encode(loaded.model, view, statistics, loaded.view, maps)

    def score_slice(self, sample: ImageSample, index: int = 0) -> SliceScores:
        """Score one slice; the same pixels give the same numbers alone or among others of their modality."""
        sample = without_annotations(sample, sample.modality)
        with worker() as beside:
            return judge(self._read(sample, index, False, beside), sample)

    def _read(self, sample: ImageSample, index: int, maps: bool, beside: Executor) -> Reading:
        loaded = self.checkpoint  # once: a full GPU may change it meanwhile
        view, encoded = self._encode(loaded, sample, index, maps, beside)
        with torch.no_grad():
            prior = self._prior(loaded.model, sample.acquisition)
        return reading(loaded, sample, index, view, encoded, prior)

    def _prior(self, model: Scorer, text: str) -> torch.Tensor:
        """Embedding of an acquisition description (1, E); the slices of a volume share it."""
        kept = self._read_prior
        if kept is None or kept[:2] != (model, text):
            kept = self._read_prior = (model, text, model.read_prior([text]))
        return kept[2]

    def _combine(self, encoded: EncodedImage) -> Assessment:
        """Slices -> one result: weights of the stack, findings from the slices that show them."""
        calibration, sample, scored = self.checkpoint.calibration, encoded.sample, encoded.scored
        best, able = encoded.able, any(s.assessable for s in encoded.scored)
        weights = np.zeros(len(scored))
        counted = {s.index for s in best}
        weights[[i for i, s in enumerate(scored) if s.index in counted]] = encoded.stack.weights
        distribution = np.sum([w * s.distribution for w, s in zip(encoded.stack.weights, best, strict=True)], axis=0)
        score = float(distribution @ BINS)
        half = float(np.mean([s.half_width for s in best]))
        modality = recognise(sample.modality, [s.modality_probability for s in best], sample.modality_from)
        anatomy = recognise(sample.anatomy, [s.anatomy_probability for s in best])
        counting = encoded.stack.weights.copy()
        counting[encoded.stack.apart] = counting.max()
        shown = best[worst([s.score for s in best], counting.tolist())]
        # what a picture that is none looks like sets no expectations
        measured_as = modality.value if able or modality.from_ != "image" else None
        values = _values(sample, shown.index, measured_as) if encoded.values is None else encoded.values
        measured = evidence.stamped(
            values, measured_as, sample.unit, sample.spacing_mm[1:], anatomy.value if anatomy.sure else None
        )
        found: tuple[Finding, ...] = ()
        if able:
            heat = partial(self.heat, sample, read=encoded.read)
            found = findings.collect(sample, heat, best, encoded.stack.apart, measured, str(modality.value))
        verdict = vocab.verdict_word(score) if able else None
        noted = self._notes(encoded) if able else ()
        result = Assessment(
            source={"path": plain_path(sample.path), "sha256": sample.sha256, "slices": sample.slices},
            modality=modality,
            anatomy=anatomy,
            acquisition=sample.acquisition,
            acquisition_from=sample.acquisition_from,
            score=score if able else None,
            score_interval=around(score, half) if able else None,
            score_distribution=tuple(float(v) for v in distribution) if able else (),
            percentile=_percentile(score, calibration.reference.get(str(modality.value))) if able else None,
            verdict=verdict,
            assessable=able,
            reason="" if able else scored[0].reason,
            reject_probability=float(distribution[BINS < vocab.USABLE_FROM].sum()) if able else None,
            attributes=findings.limited(slice_scores.mean_attributes(best), found) if able else {},
            findings=found,
            slices=rows(scored, weights) if able else (),
            evidence=measured,
            warnings=sample.warnings + noted + findings.contradicted(measured, verdict),
            description="",
            model=self.identity,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            acquisition_fields=sample.acquisition_fields,
            utility=slice_scores.worst_utility(best) if able else None,
        )  # fmt: skip
        return replace(result, description=describe(result))

    def _notes(self, encoded: EncodedImage) -> tuple[str, ...]:
        """What stands out among the slices, and what the acquisition description changed."""
        told = stack.warnings(encoded.sample, encoded.stack, encoded.able)
        told += notes(encoded.able) + purpose.contradictions(encoded.sample)
        return told + purpose.note(encoded.able, encoded.stack.weights.tolist())


def _values(sample: ImageSample, index: int, modality: str | None) -> dict[str, float]:
    """The evidence of one slice, as of `modality`."""
    valid = None if sample.valid is None else sample.valid[index]
    return evidence.values(sample.pixels[index], modality, sample.unit, sample.spacing_mm[1:], valid, sample.inverted)


def _percentile(score: float, reference: list[float] | None) -> float | None:
    if not reference:
        return None
    return float(np.interp(score, reference, np.linspace(0, 100, len(reference))))
