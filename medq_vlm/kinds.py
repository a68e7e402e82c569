"""What a reader is told about each degradation kind: plain name, cause, impact, remedy, DICOM code.

`cause` and `impact` are clauses without a full stop, `remedy` is an imperative. Texts that depend on the
modality are in kinds_by_modality.py. Codes: DICOM PS3.16 CID 6135, 6315 and 6316 where they have a concept of
the same meaning, otherwise the private scheme 99MEDQ, whose values never change once published. Imports
nothing of the project.
"""

from __future__ import annotations

from dataclasses import dataclass

PRIVATE_SCHEME = "99MEDQ"


@dataclass(frozen=True)
class KindText:
    plain: str  # plain-language name, a noun phrase that also starts a sentence
    cause: str  # usual physical cause, a noun clause
    impact: str  # effect on reading, a main clause
    remedy: str  # what to change, imperative
    code: tuple[str, str, str]  # scheme, value (at most 16 characters), meaning (at most 64)


def _private(value: str, meaning: str) -> tuple[str, str, str]:
    return (PRIVATE_SCHEME, value, meaning)


KIND_TEXTS: dict[str, KindText] = {
    # any modality
    "noise": KindText(
        "noise",
        "too little signal for the chosen settings, or too much amplification",
        "fine and low-contrast detail may be hidden",
        "collect more signal, or accept a coarser resolution",
        _private("NOISE", "Image noise"),
    ),
    "blur": KindText(
        "blur",
        "smoothing in acquisition or processing",
        "small structures and sharp margins are lost",
        "check focus and processing, and repeat with a sharper setting",
        _private("BLUR", "Image blur"),
    ),
    "motion_blur": KindText(
        "motion blur",
        "movement of the patient or the device during the exposure",
        "edges are smeared along the direction of movement and fine detail is lost",
        "immobilise, instruct the patient to hold still, and shorten the acquisition",
        ("DCM", "111210", "Motion blur"),
    ),
    "low_resolution": KindText(
        "low resolution",
        "pixels too large for the anatomy, or an image that was downsized",
        "small structures cannot be resolved",
        "acquire with a larger matrix or a smaller field of view, and export at full size",
        _private("LOWRES", "Low spatial resolution"),
    ),
    "low_contrast": KindText(
        "low contrast",
        "tissues that differ too little under the chosen settings",
        "lesions may blend into their surroundings",
        "choose settings that separate the tissues of interest, and check window and processing",
        _private("LOWCON", "Low image contrast"),
    ),
    "compression": KindText(
        "compression artefact",
        "strong lossy compression on export or transfer",
        "block edges and lost texture may hide or imitate fine detail",
        "take the original from the archive, or export losslessly",
        _private("COMPRESS", "Lossy compression artifact"),
    ),
    "clipping": KindText(
        "clipped grey values",
        "values beyond the stored range, or an export with a narrow window",
        "detail in the darkest or brightest regions is gone and cannot be recovered",
        "export the full value range, and keep the acquisition below saturation",
        _private("CLIP", "Clipped pixel values"),
    ),
    "dropout": KindText(
        "missing image data",
        "lost lines, blocks or channels in readout, transfer or storage",
        "anatomy inside the gaps cannot be judged",
        "send the image again from the source, and check the detector or probe if the gap stays",
        _private("DROPOUT", "Missing image data"),
    ),
    # CT
    "low_dose_noise": KindText(
        "low-dose noise",
        "too few photons at the detector for the thickness of the patient",
        "small low-contrast lesions may be hidden",
        "raise tube current or use automatic exposure control, or reconstruct thicker slices iteratively",
        _private("LDNOISE", "CT low-dose noise"),
    ),
    "sparse_view": KindText(
        "sparse-view streaks",
        "too few projections per rotation",
        "fine streaks from dense edges overlay soft tissue",
        "acquire more projections, or use a reconstruction made for sparse data",
        _private("SPARSEVIEW", "CT sparse-view streaking"),
    ),
    "limited_angle": KindText(
        "limited-angle distortion",
        "projections missing over part of the rotation",
        "edges vanish along the missing directions and shapes are distorted",
        "scan the full angular range",
        _private("LIMANGLE", "CT limited-angle artifact"),
    ),
    "metal": KindText(
        "metal streaks",
        "photon starvation and beam hardening at metal",
        "tissue beside the metal and in the streaks cannot be judged",
        "remove external metal, tilt the gantry or raise kVp, and use metal artefact reduction",
        _private("METAL", "Metal artifact"),
    ),
    "ring": KindText(
        "ring artefact",
        "detector elements that are defective or out of calibration",
        "rings near the centre of rotation may hide or imitate lesions",
        "recalibrate the detector, and call service if the rings stay",
        _private("RING", "CT ring artifact"),
    ),
    "beam_hardening": KindText(
        "beam hardening",
        "loss of low-energy photons in dense bone or contrast medium",
        "dark bands and cupping falsify attenuation between dense structures",
        "raise kVp, use a beam-hardening correction or dual energy, and keep dense objects out of the plane",
        ("RADLEX", "RID11327", "Beam-hardening artifact"),
    ),
    "ct_motion": KindText(
        "motion artefact",
        "breathing, heartbeat or movement of the patient during the rotation",
        "double contours and streaks may hide or imitate disease at moving borders",
        "repeat with breath-hold instruction, faster rotation, higher pitch or ECG gating",
        ("RADLEX", "RID11423", "Motion related artifact"),
    ),
    # MR
    "mr_noise": KindText(
        "low signal-to-noise ratio",
        "small voxels, few averages, high bandwidth or a distant coil",
        "fine and low-contrast detail may be hidden",
        "use a closer coil, more averages, lower bandwidth or larger voxels",
        ("DCM", "130578", "Poor SNR"),
    ),
    "mr_motion": KindText(
        "motion artefact",
        "movement of the patient between phase-encoding steps",
        "blurred and repeated edges may hide or imitate lesions",
        "immobilise and instruct the patient, and repeat with a faster or motion-corrected sequence",
        ("RADLEX", "RID11423", "Motion related artifact"),
    ),
    "ghosting": KindText(
        "ghosting",
        "periodic motion such as breathing or pulsation, or a mismatch between even and odd echoes",
        "displaced copies of bright structures overlay the anatomy along the phase direction",
        "use gating or saturation bands, swap the phase direction, or correct the echo mismatch",
        ("RADLEX", "RID11426", "Ghost"),
    ),
    "undersampling": KindText(
        "undersampling artefact",
        "too few k-space lines for the coil and the reconstruction",
        "aliased structure and raised noise overlay the anatomy",
        "lower the acceleration factor, or use a coil with more elements in the phase direction",
        _private("UNDERSAMP", "MR undersampling artifact"),
    ),
    "wraparound": KindText(
        "wrap-around",
        "anatomy outside the field of view in the phase direction",
        "folded tissue covers the region of interest",
        "enlarge the field of view, use phase oversampling, or swap the phase direction",
        ("RADLEX", "RID11395", "Phase wraparound artifact"),
    ),
    "gibbs_ringing": KindText(
        "Gibbs ringing",
        "k-space cut off too early at sharp borders",
        "parallel lines beside borders may imitate a syrinx or a cartilage lesion",
        "enlarge the acquisition matrix, or filter k-space",
        _private("GIBBS", "MR Gibbs ringing (truncation)"),
    ),
    "bias_field": KindText(
        "uneven signal intensity",
        "uneven coil sensitivity or transmit field",
        "shading changes tissue contrast from place to place and misleads comparison",
        "reposition the coil, repeat the prescan normalisation, or apply a bias-field correction",
        ("RADLEX", "RID11408", "Non-uniform signal intensity artifact"),
    ),
    "spike": KindText(
        "spike (herringbone) artefact",
        "an electric discharge or interference in single k-space points",
        "a stripe pattern across the image hides low-contrast detail",
        "look for loose metal and arcing in the room, call service, and repeat",
        _private("SPIKE", "MR spike (herringbone) artifact"),
    ),
    "susceptibility": KindText(
        "susceptibility artefact",
        "local field distortion by metal, air or blood products",
        "signal loss and distortion hide the tissue nearby",
        "use a spin-echo or metal-reduction sequence, a shorter echo time and a higher bandwidth",
        ("RADLEX", "RID11372", "Tissue magnetic susceptibility effect"),
    ),
    # X-ray and mammography; exposure also for the optical modalities
    "underexposure": KindText(
        "underexposure",
        "too little exposure for the thickness of the patient",
        "dense regions are noisy or featureless",
        "raise mAs or kVp, or check the exposure control and its chamber",
        ("DCM", "111211", "Under exposed"),
    ),
    "overexposure": KindText(
        "overexposure",
        "too much exposure, or the exposure control measured behind the wrong tissue",
        "thin and air-filled regions are saturated",
        "lower mAs, and check the exposure control and its chamber",
        ("DCM", "111212", "Over exposed"),
    ),
    "quantum_mottle": KindText(
        "quantum mottle",
        "too few photons per pixel at the detector",
        "a grainy texture may hide faint and small findings",
        "raise mAs within the reference level, and check collimation and exposure control",
        _private("QMOTTLE", "Quantum mottle"),
    ),
    "scatter": KindText(
        "scatter haze",
        "scattered radiation from a thick body part without enough rejection",
        "a veil lowers contrast in dense regions",
        "use a grid or an air gap, collimate tightly, and compress where possible",
        _private("SCATTER", "Scattered radiation"),
    ),
    "grid_lines": KindText(
        "grid lines",
        "a stationary, misaligned or off-focus anti-scatter grid",
        "periodic lines may hide fine structure and cause moire on displays",
        "centre and align the grid at its focus distance, or use a moving grid or line suppression",
        ("DCM", "111208", "Grid artifact(s)"),
    ),
    "rotation": KindText(
        "rotated positioning",
        "a patient turned or tilted against the detector",
        "symmetry, sizes and overlying contours are misleading",
        "reposition the patient square to the detector, and repeat",
        ("DCM", "111209", "Positioning"),
    ),
    "collimation": KindText(
        "collimation fault",
        "a field set too small or off centre",
        "anatomy at the margin is cut off",
        "centre the beam and open the field to the full region, and repeat",
        _private("COLLIM", "Collimation cuts off anatomy"),
    ),
    # ultrasound
    "speckle": KindText(
        "coarse speckle",
        "interference of echoes from small scatterers at low frequency or without compounding",
        "grain hides small lesions and blurs tissue borders",
        "use spatial compounding, a higher frequency or speckle reduction",
        _private("SPECKLE", "Ultrasound speckle"),
    ),
    "gain": KindText(
        "wrong gain",
        "overall or time-gain setting unsuited to the tissue",
        "echoes are lost or saturated, and cystic cannot be told from solid",
        "adjust overall gain and time-gain compensation until fluid is black and tissue even",
        _private("GAIN", "Ultrasound gain incorrect"),
    ),
    "shadow": KindText(
        "acoustic shadow",
        "bone, gas, calcification or lost probe contact that stops the beam",
        "tissue behind the reflector cannot be seen",
        "add gel, change the window or angle, and move gas by pressure or positioning",
        _private("SHADOW", "Acoustic shadowing"),
    ),
    "reverberation": KindText(
        "reverberation",
        "echoes bouncing between strong parallel reflectors",
        "false equidistant lines may imitate structure in fluid or near the probe",
        "change the angle, use harmonic imaging, and lower near-field gain",
        _private("REVERB", "Ultrasound reverberation"),
    ),
    "attenuation": KindText(
        "loss of signal with depth",
        "a frequency too high for the depth, or absorbing tissue",
        "deep structures are too dark to judge",
        "choose a lower frequency, move the focus deeper, and raise far time-gain compensation",
        _private("ATTEN", "Ultrasound depth attenuation"),
    ),
    # PET
    "low_count_noise": KindText(
        "low-count noise",
        "too few counts: low activity, short time per bed position or a large patient",
        "small lesions may be hidden or imitated, and uptake values are unreliable",
        "lengthen the time per bed position, check the injected activity, and smooth or regularise",
        _private("LCNOISE", "PET low-count noise"),
    ),
    # optical
    "defocus": KindText(
        "defocus",
        "a focus plane beside the tissue of interest",
        "fine structure and margins are lost",
        "refocus on the plane of interest, clean the optics, and repeat",
        _private("DEFOCUS", "Out of focus"),
    ),
    "uneven_illumination": KindText(
        "uneven illumination",
        "a light source off axis, too close or partly blocked",
        "dark areas hide findings and brightness cannot be compared",
        "centre the light, adjust the distance, and repeat",
        _private("UNEVENILL", "Uneven illumination"),
    ),
    "colour_cast": KindText(
        "colour cast",
        "a wrong white balance or a tinted light source",
        "colour signs such as redness, pallor or stain strength are misleading",
        "repeat the white balance with the light in use, and calibrate the display chain",
        _private("COLCAST", "Colour cast"),
    ),
    "haze": KindText(
        "haze",
        "scattered light from a dirty lens or a turbid medium",
        "a veil lowers contrast and hides fine structure",
        "clean the optics, clear the medium, and repeat",
        _private("HAZE", "Haze"),
    ),
    "specular": KindText(
        "specular reflection",
        "mirror-like reflection of the light source from a wet or smooth surface",
        "the surface under the highlights cannot be judged",
        "change the angle, lower the light, or use cross-polarisation",
        _private("SPECULAR", "Specular reflection"),
    ),
    "bubble": KindText(
        "air bubbles",
        "air trapped in fluid on or over the tissue",
        "tissue under the bubbles is covered or distorted",
        "remove the bubbles and repeat",
        _private("BUBBLE", "Air bubble"),
    ),
    "dark_spot": KindText(
        "dark spots",
        "dust or debris on the lens, the sensor or the specimen",
        "spots may hide or imitate small lesions",
        "clean the optics and the specimen, and repeat",
        _private("DARKSPOT", "Dark spot"),
    ),
    "stain": KindText(
        "staining fault",
        "wrong stain time, reagent or section thickness, or blood on the section",
        "nuclei and cytoplasm cannot be told apart reliably",
        "check stain protocol and control slide, and restain or recut",
        _private("STAIN", "Staining fault"),
    ),
    "fold": KindText(
        "tissue fold",
        "a section that overlapped itself when mounted",
        "cells in the fold are out of focus and look falsely dense",
        "scan a region without folds, or recut and remount the section",
        _private("FOLD", "Tissue fold"),
    ),
    "occlusion": KindText(
        "occlusion",
        "an instrument, debris or tissue in front of the region of interest",
        "the covered region cannot be judged",
        "clear the view and repeat",
        _private("OCCLUSION", "Occluded field of view"),
    ),
}
