"""The messages between parent and child: a length, a JSON object, the raw bytes of its arrays. No pickles.

What comes from the child is checked like any other untrusted input: it has handled hostile bytes.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from medq_vlm.io.limits import Limits
from medq_vlm.schema import ImageSample, IngestError

MAX_JSON_BYTES = 8 * 1024 * 1024
ARRAYS = {"pixels": "<f4", "valid": "|b1"}  # the only arrays and types that travel


class WireError(Exception):
    """The other side broke the protocol or closed the pipe."""


def write(put: Callable[[Any], Any], message: dict[str, Any], arrays: tuple[np.ndarray, ...] = ()) -> None:
    """Send one message. put: writes all bytes it is given."""
    text = json.dumps(message, allow_nan=False).encode()
    put(struct.pack("<I", len(text)) + text)
    for array in arrays:
        put(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


def read(get: Callable[[int], bytearray]) -> dict[str, Any]:
    """One message without its arrays. get(n) gives exactly n bytes or raises WireError. Raises WireError."""
    (length,) = struct.unpack("<I", get(4))
    if not 0 < length <= MAX_JSON_BYTES:
        raise WireError("length")
    try:
        message = json.loads(get(length))
    except ValueError as error:
        raise WireError("json") from error
    if not isinstance(message, dict):
        raise WireError("object")
    return message


def send_sample(put: Callable[[Any], Any], message: dict[str, Any], sample: ImageSample) -> None:
    """Send `message` with all of `sample`."""
    fields = {name: getattr(sample, name) for name in sample.__dataclass_fields__ if name not in ARRAYS}
    arrays = (sample.pixels, *(() if sample.valid is None else (sample.valid,)))
    shapes = {name: getattr(sample, name).shape for name in ARRAYS if getattr(sample, name) is not None}
    write(put, {**message, "sample": fields, "shapes": shapes}, arrays)


def receive_sample(message: dict[str, Any], get: Callable[[int], bytearray], limits: Limits) -> ImageSample:
    """The sample that `send_sample` sent; its arrays follow on `get`. Raises WireError."""
    try:
        fields, shapes = dict(message["sample"]), dict(message["shapes"])
        arrays: dict[str, Any] = {}
        for name, kind in ARRAYS.items():
            if name not in shapes:
                continue
            shape = tuple(int(n) for n in shapes[name])
            if len(shape) not in (3, 4) or min(shape) < 1 or math.prod(shape) > limits.max_pixels:
                raise WireError("shape")
            dtype = np.dtype(kind)
            arrays[name] = np.frombuffer(get(math.prod(shape) * dtype.itemsize), dtype).reshape(shape)
        for name in ("spacing_mm", "edges", "grid", "window", "warnings"):
            fields[name] = None if fields[name] is None else tuple(fields[name])
        return ImageSample(**fields, **arrays)
    except (KeyError, TypeError, ValueError) as error:
        raise WireError("sample") from error


def receive_error(message: dict[str, Any]) -> IngestError:
    """The IngestError that was sent as code and sentence."""
    return IngestError(str(message.get("code", "corrupt"))[:40], str(message.get("text", ""))[:1000])
