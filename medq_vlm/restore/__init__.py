"""Restoration led by the description: one network for all tasks."""

from medq_vlm.restore.guidance import GUIDANCE_NONE, Guidance, from_assessment, from_text
from medq_vlm.restore.restoration import Restoration, measure_change, untouched

__all__ = ["GUIDANCE_NONE", "Guidance", "Restoration", "from_assessment", "from_text", "measure_change", "untouched"]
