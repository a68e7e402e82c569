"""What a folder or archive as a whole gives, when some of its files can be read and some cannot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from medq_vlm.io.limits import problem
from medq_vlm.io.sniff import foreign_name
from medq_vlm.schema import ImageSample, IngestError

PASSED_OVER = ("dicomdir", "no_image")  # codes of what a DICOM study brings along: no fault where it stands by images


def collect(name: str, good: Sequence[ImageSample], bad: Sequence[IngestError]) -> list[ImageSample]:
    """The samples `good` of the input `name`, each told how many files beside it failed (see PASSED_OVER).

    Raises the first of `bad`, or IngestError 'not_an_image', when there are no samples.
    """
    bad = [one for one in bad if one.code not in PASSED_OVER] or ([] if good else bad)
    if not good:
        raise bad[0] if bad else problem("not_an_image", name, "it holds no image", "give image files")
    if not bad:
        return list(good)
    note = f"{len(bad)} other file{'s' if len(bad) > 1 else ''} given with this could not be read."
    return [replace(one, warnings=(*one.warnings, note)) for one in good]


def refused(name: str, head: bytes) -> IngestError:
    """What a file of no image kind is told by; `head` is its first HEAD_BYTES."""
    what = foreign_name(head)
    return problem(
        "empty" if not head else "not_an_image",
        name,
        f"this is {what}, not an image that can be assessed" if what else "this is not an image in a known format",
        "give DICOM, NIfTI, PNG, JPEG, TIFF, BMP, WebP or NumPy",
    )
