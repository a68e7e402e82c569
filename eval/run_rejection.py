"""Pictures that are no medical image: python -m eval.run_rejection [--seeds 5] [--out results.json]

Blank frames, noise, photographs and pages of text are written to disk and read as a user would. Each must be
called not assessable, or be rejected; one that passes as `good` or `usable` makes the exit code 1. The same
pictures are also tried under the false claim that they are radiographs. Real medical pictures stand beside
them as a
control: a model that refuses everything would be safe and useless.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import skimage.data
from PIL import Image, ImageDraw

from eval import results
from eval.tables import Cell, table
from medq_vlm import io
from medq_vlm.schema import Assessment, ImageSample, MedQError

CONTROL = "medical (control)"
PHOTOGRAPHS = ("astronaut", "camera", "coffee", "chelsea", "rocket", "brick", "grass", "gravel", "coins")
MORE_PHOTOGRAPHS = ("clock", "moon", "hubble_deep_field", "stereo_motorcycle")  # of scikit-image, too
ELSEWHERE = {  # photographs that installed packages carry: package, folder, names; left out where it is not installed
    "sklearn": ("datasets/images", ("china.jpg", "flower.jpg")),
    "gradio": (
        "media_assets/images", ("bus.png", "cheetah.jpg", "cheetah1.jpg", "groot.jpeg", "lion.jpg", "tower.jpg"),
    ),
}  # fmt: skip
GRAPHICS = ("colorwheel", "logo", "horse", "checkerboard")
PAGES = ("page", "text")
MEDICAL = ("retina", "immunohistochemistry", "microaneurysms")
CLAIM = "xray"
WORDS = ("the", "quick", "report", "of", "an", "ordinary", "page", "holds", "no", "image", "at", "all")


class Assessor(Protocol):
    """Anything that assesses a sample, e.g. medq_vlm.pipeline.MedQ."""

    def assess_sample(self, sample: ImageSample) -> Assessment: ...


@dataclass(frozen=True)
class Answer:
    """What one picture got."""

    family: str
    name: str
    claimed: str  # modality the user claims, "" for none
    outcome: str  # "not assessable" or the verdict
    score: float | None
    reason: str


def main(argv: Sequence[str] | None = None) -> int:
    """Assess all pictures, print the table, write the JSON; 1 when one of them passes."""
    from medq_vlm.pipeline import MedQ

    argv = sys.argv[1:] if argv is None else list(argv)
    p = argparse.ArgumentParser(prog="eval.run_rejection", description=(__doc__ or "").splitlines()[0])
    p.add_argument("--weights", default="nano", help="nano, or a folder with weights")
    p.add_argument("--seeds", type=int, default=5, help="how many of each drawn picture")
    p.add_argument("--out", type=Path, help="write all answers to this JSON file")
    args = p.parse_args(argv)
    try:
        model = MedQ.load(preset=args.weights)
    except MedQError as error:
        print(f"eval.run_rejection: {error}", file=sys.stderr)
        return error.exit_code
    answers = assess_all(model, pictures(args.seeds))
    print(report(answers))
    passed = [answer for answer in answers if answer.family != CONTROL and answer.outcome in ("good", "usable")]
    if args.out:
        numbers = {"passed": len(passed), "answers": [asdict(answer) for answer in answers]}
        results.write(args.out, "eval.run_rejection", argv, numbers)
    return int(bool(passed))


def pictures(seeds: int) -> list[tuple[str, str, np.ndarray]]:
    """(family, name, uint8 (H, W) or (H, W, 3)) of every picture; nothing is downloaded."""
    out = [("blank", f"level {level}", np.full((256, 320), level, np.uint8)) for level in (0, 128, 255)]
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        out += [(family, f"seed {seed}", draw(rng)) for family, draw in DRAWN.items()]
    out += [("photograph", name, getattr(skimage.data, name)()) for name in PHOTOGRAPHS]
    out += [("more photographs", name, pixels) for name, pixels in more_photographs()]
    out += [("graphics", name, _sample(name)) for name in GRAPHICS]
    out += [("text page", name, getattr(skimage.data, name)()) for name in PAGES]
    return out + [(CONTROL, name, getattr(skimage.data, name)()) for name in MEDICAL]


def more_photographs() -> list[tuple[str, np.ndarray]]:
    """(name, uint8 (H, W) or (H, W, 3)) of photographs; only the limit of colour was set with them in sight."""
    out = [(name, _sample(name)) for name in MORE_PHOTOGRAPHS]
    for package, (folder, names) in ELSEWHERE.items():
        spec = importlib.util.find_spec(package)  # gradio itself takes seconds to import
        for place in list(spec.submodule_search_locations or ())[:1] if spec else ():
            paths = [Path(place) / folder / name for name in names]
            out += [(path.name, np.asarray(Image.open(path).convert("RGB"))) for path in paths if path.is_file()]
    return out


def _sample(name: str) -> np.ndarray:
    """A sample of scikit-image as uint8: the first of several, without transparency, black and white as 0 and 255."""
    drawn = getattr(skimage.data, name)()
    pixels = np.asarray(drawn[0] if isinstance(drawn, tuple) else drawn)
    pixels = pixels.astype(np.uint8) * 255 if pixels.dtype == bool else pixels
    return pixels[..., :3] if pixels.ndim == 3 else pixels


def uniform_noise(rng: np.random.Generator) -> np.ndarray:
    """White noise over the whole range, (256, 256)."""
    return rng.integers(0, 256, (256, 256), dtype=np.uint8)


def gaussian_noise(rng: np.random.Generator) -> np.ndarray:
    """Grey with Gaussian noise of 40 levels, (300, 260)."""
    return np.clip(rng.normal(128, 40, (300, 260)), 0, 255).astype(np.uint8)


def colour_noise(rng: np.random.Generator) -> np.ndarray:
    """White noise in three channels, (256, 256, 3)."""
    return rng.integers(0, 256, (256, 256, 3), dtype=np.uint8)


def text_page(rng: np.random.Generator) -> np.ndarray:
    """A page of black words on white, (512, 400)."""
    page = Image.new("L", (400, 512), 255)
    pen = ImageDraw.Draw(page)
    for y in range(20, 490, 18):
        pen.text((24, y), " ".join(rng.choice(WORDS, 8)), fill=0)
    return np.asarray(page)


DRAWN: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "uniform noise": uniform_noise,
    "Gaussian noise": gaussian_noise,
    "colour noise": colour_noise,
    "text page": text_page,
}


def assess_all(model: Assessor, given: Sequence[tuple[str, str, np.ndarray]]) -> list[Answer]:
    """Write every picture as PNG, read it back, assess it as it is and as a claimed radiograph."""
    answers = []
    with tempfile.TemporaryDirectory() as folder:
        for family, name, pixels in given:
            path = Path(folder) / "picture.png"
            Image.fromarray(pixels).save(path)
            for sample in io.read(path):
                answers.append(_answer(family, name, "", model.assess_sample(sample)))
                if family != CONTROL:
                    claimed = replace(sample, modality=CLAIM, modality_from="user")
                    answers.append(_answer(family, name, CLAIM, model.assess_sample(claimed)))
    return answers


def _answer(family: str, name: str, claimed: str, said: Assessment) -> Answer:
    outcome = str(said.verdict) if said.assessable else "not assessable"
    return Answer(family, name, claimed, outcome, said.score, said.reason)


def report(answers: Sequence[Answer]) -> str:
    """Counts per family and claim."""
    outcomes = ("not assessable", "reject", "usable", "good")
    rows: list[list[Cell]] = []
    for family, claimed in dict.fromkeys((answer.family, answer.claimed) for answer in answers):
        counts = Counter(a.outcome for a in answers if (a.family, a.claimed) == (family, claimed))
        rows.append([family, claimed or "nothing", *(counts[outcome] for outcome in outcomes)])
    return table(("picture", "claimed to be", *outcomes), rows)


if __name__ == "__main__":
    raise SystemExit(main())
