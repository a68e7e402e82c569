"""Files in, `ImageSample` out.

`load`, `load_many`, `load_each` and `load_bytes` parse in a child process with limits and are safe on files from
anywhere.
`read` parses in this process: for trusted files such as local training data.
"""

from __future__ import annotations

import os

from medq_vlm.io.guard import load, load_bytes, load_each, load_many
from medq_vlm.io.limits import DEFAULT, Limits
from medq_vlm.schema import ImageSample

__all__ = ["DEFAULT", "Limits", "load", "load_bytes", "load_each", "load_many", "read"]


def read(path: str | os.PathLike[str], limits: Limits = DEFAULT) -> list[ImageSample]:
    """`medq_vlm.io.ingest.read`, imported when first called: the readers take half a second to import."""
    from medq_vlm.io.ingest import read as read_here

    return read_here(path, limits)
