"""Restoration led by the description: one network for all tasks."""

from medq_vlm.restore.guidance import GUIDANCE_NONE, Guidance, from_assessment, from_text
from medq_vlm.restore.restoration import Restoration, measure_change, untouched
from medq_vlm.restore.restorer import Restorer
from medq_vlm.restore.weights import load

__all__ = [
    "GUIDANCE_NONE", "Guidance", "Restoration", "Restorer", "from_assessment", "from_text", "load", "measure_change",
    "untouched",
]  # fmt: skip
