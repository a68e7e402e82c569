"""Every measure with its unit, direction, expected range by modality and source: one literal table.

Expected ranges are words for a person, not limits of the score. MR ranges come from the public MRIQC metrics with
human ratings (ABIDE, 1,101 scans; ds030, 265; MR-ART, 436 scans): the range of the scans that raters accepted.
Spearman correlation with the ratings there: MR-ART (same heads still and moving) SNR 0.81, joint variation 0.78, CNR
0.77, background energy ratio 0.77, focus entropy 0.48, field range 0.43; ABIDE and ds030 (many sites) joint variation
and SNR 0.33 to 0.37, CNR 0.32 to 0.37, focus entropy 0.16 to 0.22, background energy ratio 0.02 to 0.18, so the last is
only comparable within one scanner and has no range. The rest are rules of practice, named with each row. All are held
against clean and degraded images by eval/run_ranges.py: where many clean ones lay outside, the range is theirs (0.9 to
0.95 of them lie inside); where the degraded ones lay no farther out, there is none.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Measure:
    """What a measured number means. `expected`: modality -> words, "" for every other modality."""

    name: str
    unit: str  # "HU" and "mm" give way to "range" and "px" when the image has no such unit
    better: str  # "higher", "lower" or ""
    source: str
    expected: dict[str, str] = field(default_factory=dict)  # by modality, or "modality anatomy" where that differs


MEASURES: tuple[Measure, ...] = (
    Measure(
        "noise_sd",
        "range",
        "lower",
        "mode of local SD, Christianson et al., AJR 2015",
        # CT: full-dose abdomen is about 10 to 15 HU at 3 mm; thin slices and sharp kernels double it. A head is scanned
        # for differences of 5 HU: 3 to 5 HU at 5 mm, twice as much in thin slices.
        {"ct": "<= 25 HU (body, 1 to 3 mm)", "ct head": "<= 10 HU (head, 1 to 5 mm)", "mr": "<= 0.06",
         "xray": "<= 0.03", "mammography": "<= 0.03", "pet": "<= 0.10",
         # grain of the tissue itself: speckle, nuclei
         "ultrasound": "<= 0.07", "histopathology": "<= 0.12", "": "<= 0.04"},
    ),
    Measure(
        "snr",
        "ratio",
        "higher",
        "NEMA MS 1, single-image form",
        # accepted T1w scans: MRIQC total SNR 8.3 to 15.6 (5th to 95th percentile, three studies); one slice less
        {"mr": ">= 6", "ct": ">= 40 (in HU from air)", "pet": ">= 5", "xray": ">= 20", "mammography": ">= 20"},
    ),
    Measure(
        "cnr",
        "ratio",
        "higher",
        "class means over noise SD, after Magnotta and Friedman, J. Digit. Imaging 2006",
        # accepted T1w scans: MRIQC CNR 2.2 to 5.0; rejected of MR-ART 2.1 to 3.4
        {"mr": ">= 3", "ct": ">= 3"},
    ),
    Measure(
        "edge_width",
        "mm",
        "lower",
        "two-scale gradient ratio, Zhuo and Sim, Pattern Recognit. 2011",
        # about 1.1 times the FWHM of the point spread: CT 0.7 to 1.2 mm, MR 1 mm voxels, PET 5 to 7 mm
        {"ct": "<= 2.5 mm", "mr": "<= 3.5 mm", "pet": "<= 16 mm", "xray": "<= 4 px", "histopathology": "<= 8 px",
         "": "<= 5 px"},
    ),
    Measure("blur_anisotropy", "ratio", "lower", "blur by edge direction, after Zhuo and Sim 2011",
            {"ultrasound": "<= 2.2", "xray": "<= 2", "": "<= 1.5"}),
    Measure(
        "edge_overshoot",
        "fraction",
        "lower",
        "overshoot beside edges; 0.09 for a truncated spectrum (Gibbs 1899)",
        # no range: 0.1 beside an isolated edge, but anatomy has none, and clean heads reach 0.9
    ),
    Measure(
        "entropy_focus",
        "fraction",
        "lower",
        "entropy focus criterion, Atkinson et al., IEEE TMI 1997, normalised as in MRIQC",
        # accepted T1w volumes 0.49 to 0.79; a single slice with little air lies higher
        {"mr": "<= 0.8 (head with air around it)"},
    ),
    Measure(
        "background_energy_ratio",
        "ratio",
        "higher",
        "foreground-background energy ratio, Shehzad et al. 2015, as in MRIQC",
        # accepted: 47 (5th percentile, old multi-site ABIDE) to 22,000; compare within one scanner only
    ),
    Measure(
        "joint_variation",
        "ratio",
        "lower",
        "coefficient of joint variation, Ganzetti et al., Front. Neuroinform. 2016",
        # accepted T1w: 0.25 to 0.58, rejected of MR-ART 0.39 to 0.63; Otsu classes of one slice read a little higher
        {"mr": "<= 0.8"},
    ),
    Measure(
        "ghost_ratio",
        "fraction",
        "lower",
        "displaced copy in the air; as percent signal ghosting, ACR MRI Quality Control Manual 2015",
        {"mr": "<= 0.05"},  # the ACR limit is 0.025, on its phantom
    ),
    Measure(
        "bias_field_range",
        "fraction",
        "lower",
        "integral non-uniformity (NEMA MS 3) of a quadratic field, from sparse gradients, Zheng and Gee, MICCAI 2007",
        {"mr": "<= 0.8"},  # ACR: 0.18 in its phantom at 3 T; tissue contrast and surface coils give a head 0.1 to 0.7
    ),
    Measure(
        "streak_energy",
        "fraction",
        "lower",
        "directional excess of the spectrum (projection-slice theorem)",
        {"ct": "<= 0.2", "ct head": "<= 0.35", "mr": "<= 0.3"},
    ),
    Measure(
        "missing_angle",
        "degrees",
        "lower",
        "empty wedge of the spectrum, after Davison, SIAM J. Appl. Math. 1983",
        {"ct": "0"},
    ),
    Measure(
        "spectral_peak",
        "dB",
        "lower",
        "strongest spectral line over its ring",
        # a random field of 512 x 512 gives about 11 dB, anatomy up to about 18 dB, the outline of a camera's picture 35
        {**dict.fromkeys(("ct", "mr", "pet", "ultrasound"), "<= 20 dB"),
         **dict.fromkeys(("xray", "mammography"), "<= 22 dB")},
    ),
    Measure(
        "ring_amplitude",
        "HU",
        "lower",
        "mean over angle of the radial high-pass",
        {"ct": "<= 15 HU (anatomy alone gives 5 to 15)"},
    ),
    Measure("cupping", "HU", "lower", "rim minus middle, after AAPM report 233", {"ct": "<= 20 HU"}),
    Measure("metal_share", "fraction", "lower", "share of the body above 2500 HU", {"ct": "0"}),
    Measure(
        "clipped_fraction",
        "fraction",
        "lower",
        "ties at the ends of the range; Bushberg et al., The Essential Physics of Medical Imaging",
        {"ct": "<= 0.005", "xray": "<= 0.02", "ultrasound": "<= 0.15 (black cysts and shadows count)", "": "<= 0.02"},
    ),
    Measure("grey_levels", "levels", "higher", "distinct values in the body", {"": ">= 128"}),
    Measure(
        "blockiness",
        "ratio",
        "lower",
        "steps across block borders, after Wang, Sheikh and Bovik, ICIP 2002",
        {"": "<= 0.1"},
    ),
    Measure("brightness", "fraction", "", "median of the body within the range shown",
            {"xray": "0.3 to 0.75", "ultrasound": "0.2 to 0.6", "mr": "0.05 to 0.8", "pet": "0.03 to 0.8",
             "": "0.2 to 0.8"}),
    Measure("contrast_range", "fraction", "higher", "Michelson contrast on percentiles; CT: p95 - p5",
            {"ct": ">= 200 HU", "xray": ">= 0.25", "fundus": ">= 0.15", "histopathology": ">= 0.12", "": ">= 0.4"}),
    Measure(
        "illumination_range",
        "fraction",
        "lower",
        "half-range of a fitted quadratic field, as bias_field_range",
        {"fundus": "<= 0.6", "endoscopy": "<= 0.75", "": "<= 0.25"},
    ),
    Measure("void_share", "fraction", "lower", "share of the body below 15 % of its median level",
            {"ultrasound": "<= 0.4", "xray": "<= 0.15", "": "<= 0.1"}),
    Measure("depth_falloff", "ratio", "", "deepest over shallowest third", {"ultrasound": "0.3 to 1.5"}),
    Measure("speckle_index", "ratio", "lower", "local SD over mean, Dewaele et al. 1990", {"ultrasound": "<= 0.4"}),
    Measure("specular_fraction", "fraction", "lower", "white highlights, Arnold et al. 2010",
            {"endoscopy": "<= 0.04", **dict.fromkeys(("fundus", "histopathology", "oct", "dermoscopy"), "<= 0.02")}),
    Measure(
        "colour_cast",
        "fraction",
        "lower",
        "grey-world deviation, Buchsbaum 1980",
        # living tissue and retina are red; stained sections are magenta
        {"fundus": "<= 1.2", "endoscopy": "<= 0.7", "histopathology": "<= 0.4", "dermoscopy": "<= 0.4"},
    ),
    Measure("veil", "fraction", "lower", "dark channel, He, Sun and Tang, CVPR 2009",
            # the ground of a blood smear is bright by itself
            dict.fromkeys(("fundus", "endoscopy", "oct", "dermoscopy", "histopathology tissue section"), "<= 0.3")),
    Measure("body_share", "fraction", "", "share of the picture that is body", {}),
    Measure("cut_outline", "fraction", "lower", "frame that body touches", {"mr": "<= 0.3", "ct": "<= 0.25"}),
    Measure("lost_fraction", "fraction", "lower", "flat patches of one exact value", {"": "<= 0.02"}),
    Measure("tilt", "degrees", "lower", "long axis of the body, moments after Hu 1962",
            dict.fromkeys(("xray", "mammography"), "<= 5 degrees")),
    Measure("asymmetry", "ratio", "lower", "1 - correlation with the mirror image", {"xray": "<= 0.4"}),
)  # fmt: skip
MEASURE = {measure.name: measure for measure in MEASURES}


def expected_for(name: str, modality: str | None, anatomy: str | None = None) -> str:
    """Words for the range of measure `name` in a good image of `modality` and, if sure, `anatomy`; "" for none."""
    table = MEASURE[name].expected
    return table.get(f"{modality} {anatomy}", table.get(modality or "", table.get("", "")))


# kind -> measures that back a finding of it, the most telling first
BACKED_BY: dict[str, tuple[str, ...]] = {
    "noise": ("noise_sd", "snr", "cnr"),
    "blur": ("edge_width",),
    "motion_blur": ("blur_anisotropy", "edge_width"),
    "low_resolution": ("edge_width",),
    "low_contrast": ("contrast_range", "cnr"),
    "compression": ("blockiness", "grey_levels"),
    "clipping": ("clipped_fraction", "lost_fraction"),
    "dropout": ("lost_fraction", "void_share"),
    "low_dose_noise": ("noise_sd", "snr", "cnr"),
    "sparse_view": ("streak_energy", "noise_sd"),
    "limited_angle": ("missing_angle", "streak_energy", "blur_anisotropy"),
    "metal": ("metal_share", "streak_energy"),
    "ring": ("ring_amplitude",),
    "beam_hardening": ("cupping", "streak_energy"),
    "ct_motion": ("streak_energy", "blur_anisotropy"),
    "mr_noise": ("noise_sd", "snr", "cnr", "joint_variation"),
    "mr_motion": ("entropy_focus", "background_energy_ratio", "joint_variation", "ghost_ratio"),
    "ghosting": ("ghost_ratio", "background_energy_ratio", "entropy_focus"),
    "undersampling": ("ghost_ratio", "streak_energy", "entropy_focus"),
    "wraparound": ("cut_outline", "ghost_ratio"),
    "gibbs_ringing": ("edge_overshoot",),
    "bias_field": ("bias_field_range", "joint_variation"),
    "spike": ("spectral_peak",),
    "susceptibility": ("void_share", "lost_fraction"),
    "underexposure": ("brightness", "snr", "noise_sd"),
    "overexposure": ("clipped_fraction", "brightness"),
    "quantum_mottle": ("noise_sd", "snr"),
    "scatter": ("contrast_range", "cnr"),
    "grid_lines": ("spectral_peak",),
    "rotation": ("tilt", "asymmetry"),
    "collimation": ("body_share", "cut_outline"),
    "speckle": ("speckle_index", "noise_sd"),
    "gain": ("brightness", "clipped_fraction"),
    "shadow": ("void_share",),
    "reverberation": ("spectral_peak",),
    "attenuation": ("depth_falloff",),
    "low_count_noise": ("noise_sd", "snr"),
    "defocus": ("edge_width",),
    "uneven_illumination": ("illumination_range",),
    "colour_cast": ("colour_cast",),
    "haze": ("veil", "contrast_range"),
    "specular": ("specular_fraction",),
    "bubble": ("specular_fraction", "void_share"),
    "dark_spot": ("void_share",),
    "stain": ("colour_cast", "void_share"),
    "fold": ("void_share",),
    "occlusion": ("void_share", "body_share"),
}


def for_kind(kind: str) -> tuple[str, ...]:
    """Names of the measures that back a finding of `kind` (vocab.KIND_NAMES), the most telling first."""
    return BACKED_BY[kind]


# Evidence where it shows something, and none where it does not: four of five limited angles leave no empty wedge.
ONE_SIDED = ("missing_angle",)
