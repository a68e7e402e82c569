"""What the page and the API can ask for, as plain functions over one engine, one store and one reader."""

from __future__ import annotations

import hashlib
import logging
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.engine import Engine, Step, Stopped
from app.intake import Reader, Unread, UploadLimits, once, take
from app.store import Owner, Store, Study, Treated
from medq_vlm import phantoms
from medq_vlm.degrade.sample import degrade_sample
from medq_vlm.io import examples, terms
from medq_vlm.report.content import clean
from medq_vlm.schema import ImageSample, IngestError, MedQError

LOG = logging.getLogger("medq.app")
LONGEST_DESCRIPTION = 600
TOLD = 3  # names of files that came twice
LONGEST_LEAD = 2000  # of a description that leads a restoration: the assessment's own may be so long
EXAMPLES = ("Head CT", "Head CT, motion", "Abdomen MR", "CT volume (phantom)", "CT, metal (phantom)",
            "Head MR, motion (phantom)", "Chest X-ray (phantom)", "Fundus, defocus (phantom)")  # fmt: skip


@dataclass
class Room:
    """The parts of a running app."""

    engine: Engine
    store: Store
    reader: Reader
    limits: UploadLimits = field(default_factory=UploadLimits)

    def receive(self, owner: Owner, paths: Sequence[str | Path], join: bool = False) -> tuple[list[Study], list[str]]:
        """Uploaded files to studies of `owner`, and sentences: what failed, what came twice. Raises MedQError.

        join: what the owner's page lists already, by name and content, is that study; else it becomes another one.
        """
        files, twice = once(take(paths, self.limits))
        taken = self.reader.read(files)
        studies: list[Study] = []
        unread = list(taken.unread)
        gone = self.store.forgotten(owner)
        listed = self.store.studies(owner) if join else []
        for sample in taken.samples:
            try:
                same = next((one for one in listed if _same(one.sample, sample)), None)
                if same is None:
                    studies.append(self.store.add(owner, clean(sample.path), sample))
                elif same not in studies:
                    same.wait_again()
                    studies.append(same)
                    twice.append(same.label)
            except MedQError as error:
                unread.append(Unread(clean(sample.path), str(error)))
        self.store.failed(owner, unread)
        problems = [one.problem for one in unread]
        if twice:
            problems.append(_kept_once([*dict.fromkeys(map(clean, twice))]))
        if gone := self.store.forgotten(owner) - gone:
            problems.append(
                f"{gone} older {'study was' if gone == 1 else 'studies were'} removed from memory to make room."
            )
        return studies, problems

    def open_example(self, owner: Owner, name: str) -> Study:
        """One of EXAMPLES as a new study. Raises MedQError for another name."""
        return self.store.add(owner, name, example(name))

    def assess(self, study: Study, description: str | None = None) -> Iterator[Step]:
        """Assess a study and keep the result. A description is cut to a sane length; None or "" keeps the header's.

        The anatomy is what a person chose, else the header's, else what the words of a new description name.
        """
        anatomy = study.anatomy
        if description is not None:
            description = clean(description)[:LONGEST_DESCRIPTION] or study.sample.acquisition
            if description != study.sample.acquisition:
                anatomy = anatomy or (None if study.sample.anatomy else terms.anatomy_in(description))
        stop = study.fresh_stop()
        study.state, study.problem = "assessing", ""
        try:
            for step in self.engine.assess(study, description, anatomy):
                if step.result is not None:
                    study.before, study.result, study.encoded = study.result, step.result, step.encoded
                    study.state = "done"
                yield step
        except (Stopped, GeneratorExit):
            if study.stop is stop:  # no newer run has begun
                study.state = "stopped"
            raise
        except Exception as error:
            study.state, study.problem = "failed", explain(error)
            if isinstance(error, MedQError):
                raise
            raise MedQError(study.problem) from error  # with its id: whoever tells it next makes no second one
        finally:
            if study.result is not None and study.stop is stop:  # of an earlier run
                study.state = "done"
            self.store.grown(study)

    def restore(self, study: Study, description: str | None = None) -> Iterator[Step]:
        """Restore an assessed study and keep what came of it; a person's description leads. Raises MedQError."""
        words = None if description is None else clean(description)[:LONGEST_LEAD]
        before = study.result
        if before is None:
            raise MedQError("This study was not assessed yet.")
        if not study.restoring.acquire(blocking=False):
            raise MedQError("This study is being restored already.")
        try:
            for step in self.engine.restore(study, words):
                if step.restored is not None and step.result is not None:
                    number = study.treated.number + 1 if study.treated else 1
                    self.store.treat(study, Treated(step.restored, before, step.result, words is not None, number))
                yield step
        finally:
            study.restoring.release()


def _same(one: ImageSample, other: ImageSample) -> bool:
    """The same input again; shape and view tell the stacks of one file apart."""
    first, second = ((s.path, s.sha256, s.pixels.shape, s.view) for s in (one, other))
    return first == second


def _kept_once(names: Sequence[str]) -> str:
    shown = [*names[:TOLD], *([f"{len(names) - TOLD} more"] if len(names) > TOLD else [])]
    return f"Given twice and kept once: {', '.join(shown)}."


def example(name: str) -> ImageSample:
    """A sample that ships: pydicom's bundled files and phantoms, some degraded. Raises MedQError."""
    from dataclasses import replace

    from medq_vlm import io

    def bundled(file: str) -> ImageSample:
        return io.read(examples.example(file))[0]

    def worse(sample: ImageSample, kind: str, severity: float) -> ImageSample:
        return degrade_sample(sample, kind, severity, seed=1)[0]

    makers: dict[str, Any] = {
        "Head CT": lambda: bundled(examples.CT_HEAD),
        "Head CT, motion": lambda: worse(bundled(examples.CT_HEAD), "ct_motion", 3.0),
        "Abdomen MR": lambda: bundled(examples.MR_ABDOMEN),
        "CT volume (phantom)": lambda: phantoms.phantom_volume("ct", seed=3, slices=12, size=256),
        "CT, metal (phantom)": lambda: worse(phantoms.phantom("ct", seed=1), "metal", 3.5),
        "Head MR, motion (phantom)": lambda: worse(phantoms.phantom("mr", seed=7), "mr_motion", 3.0),
        "Chest X-ray (phantom)": lambda: phantoms.phantom("xray", seed=1),
        "Fundus, defocus (phantom)": lambda: worse(phantoms.phantom("fundus", seed=1), "defocus", 3.0),
    }
    if name not in makers:
        raise MedQError(f"There is no example of that name; choose one of: {', '.join(EXAMPLES)}.")
    sample = makers[name]()
    digest = sample.sha256 or hashlib.sha256(sample.pixels.tobytes()).hexdigest()
    return replace(sample, path=name, sha256=digest)


def explain(error: BaseException) -> str:
    """A sentence for a person. The words of any error but ours may quote a header: they go nowhere."""
    if isinstance(error, Stopped):
        return "Stopped. The images stay open."
    if isinstance(error, MedQError | IngestError):
        return clean(error)
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{Path(frame.filename).name}:{frame.name}" for frame in frames]
    number = hashlib.sha256(" ".join([type(error).__name__, *places]).encode()).hexdigest()[:8]
    LOG.error("internal error %s: %s in %s", number, type(error).__name__, places[-1] if places else "?")
    return f"Something went wrong inside MedQ (id {number}). Your images are not affected; please report the id."


def time_left(seconds: float | None) -> str:
    """E.g. "about 1 min 40 s left"; "" when that is not known or next to nothing."""
    if seconds is None or seconds < 1:
        return ""
    whole = round(seconds)
    return f"about {whole} s left" if whole < 60 else f"about {whole // 60} min {whole % 60:02d} s left"
