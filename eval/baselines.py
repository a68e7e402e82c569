"""The measures every table shows beside the product, all oriented so that higher means better.

Without a reference: a BRISQUE-class regressor, a NIQE-class distance, Laplacian sharpness, Immerkaer noise,
and the product's own statistics with a small perceptron. With the clean image as reference (an upper bound
that no blind measure has): PSNR, SSIM, VIF, HaarPSI. The blind ones see the same canonical plane as the
product.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from eval import full_reference, natural_scene, no_reference, regressor
from eval.cases import CLEAN_LADDER, Case
from eval.severity import qualities, severities
from medq_vlm import vocab
from medq_vlm.config import ViewConfig
from medq_vlm.encoder import preprocess
from medq_vlm.evidence import statistics
from medq_vlm.schema import ImageSample, MedQError

STATISTICS = "statistics + MLP"
FULL_REFERENCE: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "PSNR": full_reference.psnr,
    "SSIM": full_reference.ssim,
    "VIF": full_reference.vif,
    "HaarPSI": full_reference.haarpsi,
}
PSNR_CAP_DB = 80.0
RECORD_ARRAYS = ("statistics", "strengths", "losses", "modality", "group", "medical")


@dataclass(frozen=True)
class Records:
    """Labelled training records of the statistics baseline."""

    statistics: np.ndarray  # (N, F) evidence.statistics of canonical planes
    quality: np.ndarray  # (N,) 0 to 4
    modality: np.ndarray  # (N,) words of vocab.MODALITIES
    group: np.ndarray  # (N,) subject or source unit


@dataclass(frozen=True)
class Baselines:
    """Fitted baselines; a part that had no training images is None and is missing from the tables."""

    statistics: regressor.Regressor | None
    brisque: regressor.Regressor | None
    niqe: natural_scene.Niqe | None
    view: ViewConfig
    reference: bool = True  # measure against the clean image too

    def measure(self, case: Case) -> dict[str, float]:
        """{name: value, higher is better} of one case; clean cases are compared with themselves."""
        plane = preprocess.canonical(case.sample, 0, self.view)
        grey = _grey(plane.plane)
        out = {
            "sharpness (Laplacian)": no_reference.sharpness(grey),
            "noise (Immerkaer)": -no_reference.noise_sd(grey),
        }
        if self.brisque is not None:
            out["BRISQUE-class"] = float(self.brisque.predict(natural_scene.brisque_features(grey)[None])[0])
        if self.niqe is not None:
            out["NIQE-class"] = -self.niqe.distance(grey)
        if self.statistics is not None:
            stats = statistics.features(plane.plane, plane.mask)
            row = with_modality(stats[None], np.array([case.content.modality]))
            out[STATISTICS] = float(self.statistics.predict(row)[0])
        if self.reference:
            out |= reference_measures(case.content.sample, case.sample, self.view)
        return out


def fit(records: Records | None, training_cases: Iterable[Case], view: ViewConfig, reference: bool = True) -> Baselines:
    """Fit what can be fitted.

    `records` are the product's own training records; without them the statistics are learned from
    `training_cases`, as the natural-scene measures are. No case and no record: only the untrained measures
    remain.
    """
    brisque, clean_patches, stats, quality, modality, group = [], [], [], [], [], []
    for case in training_cases:
        plane = preprocess.canonical(case.sample, 0, view)
        grey = _grey(plane.plane)
        brisque.append(natural_scene.brisque_features(grey))
        if case.ladder == CLEAN_LADDER:
            clean_patches.append(natural_scene.niqe_patches(grey, sharp_only=True))
        if records is None:
            stats.append(statistics.features(plane.plane, plane.mask))
        quality.append(case.quality)
        modality.append(case.content.modality)
        group.append(case.content.group)
    labels, groups = np.array(quality), np.array(group)
    if records is None and quality:
        records = Records(np.array(stats), labels, np.array(modality), groups)
    return Baselines(
        statistics=None if records is None else _fit_statistics(records),
        brisque=regressor.fit(np.array(brisque), labels, groups) if quality else None,
        niqe=natural_scene.Niqe(np.concatenate(clean_patches)) if clean_patches else None,
        view=view,
        reference=reference,
    )


def load_records(folder: Path) -> Records:
    """The product's own training records: the labels of every training shard in `folder` (train_*.npz).

    Arrays of a shard: statistics (N, F), strengths and losses (N, K), modality (index into vocab.MODALITIES,
    -1 unknown), group, medical (N,). Pictures that are not medical or of unknown modality are left out. Raises
    MedQError when there is no shard, an array is missing, or the statistics are not those of this version.
    """
    paths = [path for path in sorted(folder.glob("train_*.npz")) if not path.name.endswith(".partial.npz")]
    if not paths:
        raise MedQError(f"There are no training shards (train_*.npz) in {folder}.")
    columns: dict[str, list[np.ndarray]] = {name: [] for name in RECORD_ARRAYS}
    for path in paths:
        with np.load(path, allow_pickle=False) as file:
            missing = [name for name in RECORD_ARRAYS if name not in file]
            if missing:
                raise MedQError(f"The training shard {path} lacks the array(s) {', '.join(missing)}.")
            for name in RECORD_ARRAYS:
                columns[name].append(file[name])
    joined = {name: np.concatenate(parts) for name, parts in columns.items()}
    found, expected = joined["statistics"].shape[1], len(statistics.FEATURE_NAMES)
    if found != expected:
        raise MedQError(f"The shards in {folder} have {found} statistics, not {expected}; make them again.")
    use = joined["medical"].astype(bool) & (joined["modality"] >= 0)
    words = np.array(vocab.MODALITIES)[joined["modality"][use].astype(int)]
    found_severities = severities(joined["strengths"][use], joined["losses"][use], joined["modality"][use])
    quality = qualities(found_severities, joined["medical"][use])
    return Records(joined["statistics"][use], quality, words, joined["group"][use])


def with_modality(stats: np.ndarray, modality: np.ndarray) -> np.ndarray:
    """Statistics (N, F) and one column per modality, (N, F + M): the product is told the modality too."""
    return np.concatenate([stats, modality[:, None] == np.array(vocab.MODALITIES)], axis=1)


def reference_measures(clean: ImageSample, sample: ImageSample, view: ViewConfig) -> dict[str, float]:
    """Full-reference measures of a slice against its clean original, higher is better.

    Both pass one intensity map and one crop, those of the clean image, so that only pixels are compared. PSNR
    is capped: it is infinite for equal images, which no correlation can hold.
    """
    (x0, y0, x1, y1), size = _clean_frame(clean, view)
    reference, image = (
        torch.from_numpy(preprocess.resize(plane[y0:y1, x0:x1], size))[None, None]
        for plane in (_mapped(clean, clean), _mapped(sample, clean))
    )
    values = {name: float(measure(reference, image)) for name, measure in FULL_REFERENCE.items()}
    return values | {"PSNR": min(values["PSNR"], PSNR_CAP_DB)}


def _fit_statistics(records: Records) -> regressor.Regressor:
    return regressor.fit(with_modality(records.statistics, records.modality), records.quality, records.group)


def _clean_frame(clean: ImageSample, view: ViewConfig) -> tuple[tuple[int, int, int, int], tuple[int, int]]:
    frame = preprocess.canonical(clean, 0, view)
    return frame.box, (frame.plane.shape[0], frame.plane.shape[1])


def _mapped(sample: ImageSample, clean: ImageSample) -> np.ndarray:
    if sample.unit == "HU":
        return _grey(preprocess.grey_map(sample, 0))
    # not grey_map: its range follows the image, and a difference in range is part of the degradation
    low, high = np.percentile(clean.pixels[0], (0.5, 99.5))
    return _grey((sample.pixels[0] - low) / max(float(high - low), 1e-6))


def _grey(plane: np.ndarray) -> np.ndarray:
    grey = plane.mean(-1) if plane.ndim == 3 else plane
    return np.clip(grey, 0.0, 1.0).astype(np.float32)
