"""Measured numbers that a question asks for among other words, and how far they lie from what is expected."""

from __future__ import annotations

import re
from collections.abc import Iterator

from medq_vlm.language import aspects, facts
from medq_vlm.language import line as lines
from medq_vlm.language.case import MEASURES, Case
from medq_vlm.language.terms import TOPICS
from medq_vlm.schema import Measurement

NUMBER = re.compile(
    r"\b(?:how far (?:off|out|from|above|below|outside)|by (?:how much|what factor|which factor)|how many times|factor"
    r"|in (?:numbers|figures|hu|percent|%)|(?:a|the|its|which|what|give|exact) (?:\w+ )?(?:numbers?|figures?|values?)"
    r"|measur(?:ed|able|ements?)|(?:above|below|within|over|under|exceeds?|beyond|outside|inside|meets?) (?:the |its "
    r"|your )?(?:\w+ )?(?:limits?|range|norms?|threshold|bound|expected|expectation)|quantif\w+|expected|what (?:should"
    r"|would) (?:it|that) be)\b"
)
# words for what was measured that mean a number only where one is asked for
LOOSELY = {
    ("noise", "noisy"): ("noise_sd",),
    ("signal to noise", "signal-to-noise"): ("snr",),
    ("contrast", "flat"): ("contrast_range", "cnr", "veil"),
    ("sharpness", "sharp", "unsharp", "blur", "blurred", "defocus"): ("edge_width",),
    ("light", "lighting", "illumination"): ("illumination_range", "brightness"),
    ("brightness", "bright", "dark", "exposure"): ("brightness",),
    ("haze", "hazy", "veil"): ("veil",),
    ("speckle",): ("speckle_index",),
    ("ghosting", "ghost", "ghosts"): ("ghost_ratio",),
    ("streak", "streaks", "streaking"): ("streak_energy",),
    ("ring", "rings"): ("ring_amplitude",),
    ("cupping",): ("cupping",),
    ("metal",): ("metal_share",),
    ("shading", "bias field", "inhomogeneity"): ("bias_field_range",),
    ("clipping", "clipped", "saturation"): ("clipped_fraction",),
    ("compression", "blocks", "blocking"): ("blockiness",),
    ("reflections", "specular", "glare"): ("specular_fraction",),
    ("colour", "tint", "stain"): ("colour_cast",),
    ("tilt", "tilted"): ("tilt",),
}
OUTRIGHT = {
    name: tuple(form for form in forms if form not in ("noise", "sd", "noise level"))
    for name, forms in MEASURES.items()
}
METHOD = re.compile(
    r"^(?:and |but )?how (?:was|is|are|were|did|do|does)\b.*\b(?:measured?|computed?|calculated?|determined?)\b"
)
MEANING = re.compile(r"\b(?:means?|stands? for|define|definition|explain)\b")
HOW_FAR = re.compile(r"\bhow (?:far|many times)\b|\bby (?:how much|what|which)\b|\bfactor\b")


_WORDS = (
    "far off out above below within over under exceed exceeds beyond outside inside much many times factor percent % "
    "hu value values figure measured measurable measure measurement limit limits range norm threshold bound expected "
    "expectation quantify quantified light noisy bright dark sharp get got high low"
)
WORDS = frozenset(_WORDS.split())


def told(case: Case) -> str:
    """The numbers that a question names outright, or asks for in no other words; "" for any other."""
    return _quoted(case, [*_outright(case)] or ([*_loosely(case)] if aspects.familiar(case, WORDS) else []))


def let_in(case: Case) -> str:
    """The same for a question that is known to be about quality, in any words."""
    return _quoted(case, [*_outright(case)] or [*_loosely(case)])


def _outright(case: Case) -> Iterator[Measurement]:
    """Numbers of the result that a question calls by their name."""
    for one in case.assessment.evidence:
        spelled = one.name.replace("_", " ")
        forms = OUTRIGHT.get(one.name, ()) + ((spelled,) if " " in spelled else ())
        if case.says(*forms):
            yield one


def _loosely(case: Case) -> Iterator[Measurement]:
    """Numbers that stand behind the words of a question which asks for a number."""
    if not NUMBER.search(case.asked):
        return
    measured = {one.name: one for one in case.assessment.evidence}
    named = [
        next((name for name in names if name in measured), "") for forms, names in LOOSELY.items() if case.says(*forms)
    ]
    if any(named):
        yield from (measured[name] for name in dict.fromkeys(named) if name)
    elif case.spoken.meant:
        yield from (each for one in case.spoken.findings[:2] for each in one.evidence[:1])


def _quoted(case: Case, numbers: list[Measurement]) -> str:
    """Up to three numbers with their ranges, and the finding that they back."""
    if not numbers or METHOD.search(case.asked) or aspects.WHY_SO.search(case.asked):
        return ""
    numbers = numbers[:3]
    parts = [facts.measurement(one) + (distance(one) if HOW_FAR.search(case.asked) else "") for one in numbers]
    backed = [one for one in case.found if {each.name for each in one.evidence} & {each.name for each in numbers}]
    found = f"Found with it: {' and '.join(facts.finding(one) for one in backed[:2])}." if backed else ""
    meaning = [f"{facts.capital(TOPICS[name][1])}." for name in _plain_names(numbers) if MEANING.search(case.asked)]
    yours = facts.YOURS if case.says("enough", "sufficient") else ""
    return " ".join(filter(None, (*meaning, *parts, found, yours)))


def _plain_names(numbers: list[Measurement]) -> list[str]:
    return [name for one in numbers if (name := one.name.replace("_", " ")) in TOPICS]


def distance(one: Measurement) -> str:
    """How far a number lies from its bound."""
    times = one.times_bound
    if times is None or one.within is not False:
        return ""
    name = facts.capital(lines.measure_name(one.name))
    if one.expected.startswith("<="):
        return f" {name} is {times:.1f} times its bound."
    return f" The bound is {times:.1f} times what was measured."
