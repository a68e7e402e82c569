"""Cause, impact and remedy of kinds whose physics depends on the modality; kinds.py holds the general texts.

Same grammar as kinds.py: cause a noun clause, impact a main clause, remedy an imperative. Imports nothing of
the project.
"""

from __future__ import annotations

# {kind: {modality: (cause, impact, remedy)}}
BY_MODALITY: dict[str, dict[str, tuple[str, str, str]]] = {
    "noise": {
        "ct": (
            "too few photons at the detector, thin slices or a sharp kernel",
            "small low-contrast lesions may be hidden",
            "raise tube current, or reconstruct thicker slices with a smoother or iterative kernel",
        ),
        "mr": (
            "small voxels, few averages, high bandwidth or a distant coil",
            "fine and low-contrast detail may be hidden",
            "use a closer coil, more averages, lower bandwidth or larger voxels",
        ),
        "xray": (
            "too few photons per pixel at the detector",
            "faint nodules and fine lines may be hidden",
            "raise mAs within the reference level, and check the exposure control",
        ),
        "mammography": (
            "too few photons per pixel, often behind dense or thick tissue",
            "microcalcifications may be hidden",
            "check compression and exposure control, and raise mAs within the dose limit",
        ),
        "ultrasound": (
            "electronic noise amplified by high gain at depth",
            "deep structures and fluid are hard to judge",
            "lower the frequency, move the focus to the region and reduce gain",
        ),
        "pet": (
            "too few counts for the voxel size",
            "small lesions may be hidden or imitated, and uptake values are unreliable",
            "lengthen the time per bed position, and check the injected activity",
        ),
        "fundus": (
            "low flash and high sensor gain, or a small pupil",
            "microaneurysms and fine vessels may be hidden",
            "dilate the pupil or raise the flash, and lower the gain",
        ),
        "endoscopy": (
            "low light and high sensor gain far from the wall",
            "mucosal pattern and fine vessels may be hidden",
            "move closer and add light",
        ),
        "histopathology": (
            "short camera exposure or low lamp power",
            "nuclear texture is hard to judge",
            "raise lamp power or exposure time, and scan again",
        ),
        "oct": (
            "weak signal from misalignment, media opacity or too few averaged scans",
            "layer borders are hard to follow",
            "realign, clean the lens, moisten the eye, and average more scans",
        ),
        "dermoscopy": (
            "low light and high sensor gain",
            "fine pigment network may be hidden",
            "switch on the built-in light, and hold contact with the skin",
        ),
    },
    "blur": {
        "ct": (
            "a smooth kernel, thick slices or strong denoising",
            "fine lung, bone and vessel detail is lost",
            "reconstruct thinner slices with a sharper kernel",
        ),
        "mr": (
            "large voxels, a long echo train or filtering",
            "small structures and tissue borders are lost",
            "use smaller voxels or a shorter echo train, and switch off smoothing",
        ),
        "xray": (
            "a large focal spot, a body part far from the detector, or smoothing",
            "fine lines, small nodules and fracture lines may be lost",
            "use the small focal spot, bring the body part to the detector, and check processing",
        ),
        "mammography": (
            "weak compression, a large focal spot or smoothing",
            "microcalcifications and spiculation may be lost",
            "improve compression, use the small focal spot, and repeat",
        ),
        "ultrasound": (
            "a focal zone away from the region, or a frequency too low",
            "tissue borders and small lesions are lost",
            "move the focal zone to the region and choose a higher frequency",
        ),
        "pet": (
            "breathing, a strong filter or large voxels",
            "small lesions are smeared and their uptake is underestimated",
            "use gating, a weaker filter and point-spread modelling",
        ),
        "oct": (
            "a defocused beam, uncorrected dispersion or eye movement",
            "layer borders and small cysts are lost",
            "refocus, check alignment, and repeat",
        ),
    },
    "motion_blur": {
        "xray": (
            "breathing or movement of the patient during the exposure",
            "fine lines and vessel margins are smeared",
            "shorten the exposure, coach the breath-hold, and repeat",
        ),
        "mammography": (
            "movement during a long exposure or weak compression",
            "microcalcifications are smeared and may be missed",
            "compress firmly, ask to stop breathing, and repeat",
        ),
        "ultrasound": (
            "fast movement of the probe or the tissue against the frame rate",
            "borders are smeared",
            "hold the probe still, raise the frame rate, and reduce persistence",
        ),
        "pet": (
            "breathing or movement during the bed position",
            "lesions are smeared and uptake is underestimated",
            "use gating and immobilisation, and check the match with CT",
        ),
        "fundus": (
            "eye movement or blinking during the flash",
            "fine vessels and the disc margin are smeared",
            "improve fixation, and repeat",
        ),
        "endoscopy": (
            "fast movement of the scope or the bowel",
            "mucosal pattern is smeared",
            "hold the scope still, freeze again, and consider an antispasmodic",
        ),
        "histopathology": (
            "stage vibration or a mistimed strobe in scanning",
            "nuclear detail is smeared",
            "check the stage and the table, and scan again",
        ),
        "oct": (
            "eye movement during the scan",
            "layers jump or are smeared",
            "switch on eye tracking, improve fixation, and repeat",
        ),
    },
    "low_contrast": {
        "ct": (
            "a high kVp, missing contrast medium, or a phase that was missed",
            "soft-tissue lesions may blend into their surroundings",
            "lower kVp where size allows, check contrast timing, and narrow the window",
        ),
        "mr": (
            "repetition and echo times unsuited to the tissues, or late contrast timing",
            "lesions may blend into their surroundings",
            "adjust TR, TE or preparation pulses to the question",
        ),
        "xray": (
            "a high kVp, scatter, or flat processing",
            "faint nodules and interstitial signs may be missed",
            "lower kVp, use a grid, and check processing",
        ),
        "mammography": (
            "a hard beam for the breast, weak compression or scatter",
            "masses may blend into dense tissue",
            "check target, filter and kVp, improve compression, and use the grid",
        ),
        "ultrasound": (
            "a dynamic range or gain unsuited to the tissue",
            "lesions may look like the surrounding tissue",
            "adjust dynamic range and gain, and use harmonic imaging",
        ),
        "pet": (
            "a short uptake time, high glucose or low avidity",
            "lesions may not stand out from background",
            "check uptake time and glucose, and image later",
        ),
    },
    "low_resolution": {
        "ct": (
            "a large field of view for the matrix, or an image that was downsized",
            "small nodules and fine bone detail cannot be resolved",
            "reconstruct with a smaller field of view, and export at full size",
        ),
        "pet": (
            "large voxels or a coarse reconstruction",
            "small lesions are lost and their uptake is underestimated",
            "reconstruct with a finer matrix",
        ),
        "histopathology": (
            "a low-power objective, or a downsized export",
            "nuclear detail cannot be resolved",
            "scan at higher magnification, and export at full size",
        ),
    },
    "underexposure": {
        "mammography": (
            "too little exposure for the thickness or density of the breast",
            "dense tissue is noisy and microcalcifications may be missed",
            "check the exposure control sensor position, and repeat",
        ),
        "fundus": (
            "a weak flash, a small pupil or misalignment",
            "the periphery and fine lesions are too dark to judge",
            "dilate the pupil, realign, and raise the flash",
        ),
        "endoscopy": (
            "a distant wall, weak light or a dirty lens",
            "mucosa in the dark is not seen",
            "move closer, clean the lens, and raise the light",
        ),
        "histopathology": (
            "low lamp power or short exposure",
            "nuclear and stain detail is too dark",
            "recalibrate white on an empty field, and scan again",
        ),
        "oct": (
            "weak signal from misalignment, a small pupil or media opacity",
            "deep layers are too dark to judge",
            "realign, dilate the pupil, and repeat",
        ),
        "dermoscopy": (
            "weak light or automatic exposure misled by bright skin",
            "structures inside dark lesions are not seen",
            "raise the light or the exposure value, and repeat",
        ),
    },
    "overexposure": {
        "mammography": (
            "too much exposure, or a sensor behind fatty tissue",
            "skin line and fatty tissue are saturated",
            "check the exposure control sensor position, and lower mAs",
        ),
        "fundus": (
            "a flash too strong, or reflections from the media",
            "disc and macula are washed out",
            "lower the flash, and repeat",
        ),
        "endoscopy": (
            "light too strong or too close to the wall",
            "mucosa in the glare is washed out",
            "move back, and lower the light",
        ),
        "histopathology": (
            "lamp power or exposure time too high",
            "pale structures are washed out",
            "recalibrate white on an empty field, and scan again",
        ),
        "oct": (
            "saturation by a strong reflection at a surface",
            "layers at and below the reflection are washed out",
            "tilt the beam slightly, lower the power or gain, and repeat",
        ),
        "dermoscopy": (
            "light too strong, or automatic exposure misled by a dark lesion",
            "pale and regressing areas are washed out",
            "lower the light or the exposure value, and repeat",
        ),
    },
    "occlusion": {
        "fundus": (
            "eyelid, lashes or a dense media opacity in the light path",
            "the covered retina cannot be judged",
            "hold the lid, realign, and repeat",
        ),
        "endoscopy": (
            "an instrument, stool, blood or mucosa on the lens",
            "the covered mucosa cannot be judged",
            "rinse, suction and withdraw, and image again",
        ),
        "dermoscopy": (
            "hair, ink or a scale over the lesion",
            "the covered structures cannot be judged",
            "clip or part the hair, clean the skin, and repeat",
        ),
        "histopathology": (
            "dirt, a thread or pen marks on the slide",
            "the covered tissue cannot be judged",
            "clean the slide, and scan again",
        ),
        "oct": (
            "an eyelid, a vessel shadow or a dense media opacity",
            "layers in the shadow cannot be judged",
            "reposition, dilate the pupil, and repeat",
        ),
    },
}
