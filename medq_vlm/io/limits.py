"""How much one untrusted input may cost, and the sentence a person gets when something is wrong."""

from __future__ import annotations

from dataclasses import dataclass

from medq_vlm.schema import IngestError

MIB = 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """Ceilings for one input in bytes, seconds and pixels.

    Counted on what is found, never on what a header promises.
    """

    memory_bytes: int = 1536 * MIB  # address space of the child process
    cpu_s: float = 15.0  # CPU time for one file
    wall_s: float = 20.0  # wall clock for one file
    max_file_bytes: int = 768 * MIB  # one file, compressed or not
    max_pixels: int = 512**3  # slices x rows x columns x samples of one image
    max_side: int = 65_535  # rows or columns
    min_side: int = 8  # rows or columns
    max_slices: int = 10_000  # frames of one file or slices of one series
    max_files: int = 20_000  # files of one folder, or members of one archive
    max_archive_bytes: int = 2048 * MIB  # inflated bytes of one archive, all members together
    max_deflated_bytes: int = 256 * MIB  # inflated bytes of one deflated DICOM file
    max_crashes: int = 5  # child processes one folder or archive may cost before it is given up


DEFAULT = Limits()


def problem(code: str, name: str, what: str, advice: str) -> IngestError:
    """IngestError with the one sentence: which file, what is wrong, what to do.

    Both texts are fixed words and numbers: never exception text, never text out of the file.
    """
    return IngestError(code, f"{shown(name)}: {what}; {advice}.")


def out_of_memory(name: str) -> IngestError:
    """The sentence for a file that does not fit the memory limit."""
    return problem("memory", name, "it needs more memory than is allowed for one file", "give a part of it")


def shown(name: str, length: int = 200) -> str:
    """A file name safe to print on one line: control characters escaped, the middle of a long one cut."""
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)
    return safe if len(safe) <= length else f"{safe[: length // 2]}...{safe[-length // 2 :]}"


def check_claim(name: str, shape: tuple[int, ...], limits: Limits) -> None:
    """Refuse a declared size before anything is decoded. `shape`: slices, rows, columns, samples.

    Raises IngestError 'too_small', 'too_large' or 'corrupt'.
    """
    slices, rows, columns, samples = shape
    if min(shape) < 1:
        raise problem("corrupt", name, "the header declares an image without pixels", "export the file again")
    if min(rows, columns) < limits.min_side:
        raise problem(
            "too_small",
            name,
            f"the image is {columns} x {rows} pixels; below {limits.min_side} a side nothing can be judged",
            "give the full-size image",
        )
    if max(rows, columns) > limits.max_side or slices > limits.max_slices:
        raise problem(
            "too_large",
            name,
            f"the header declares {slices} slices of {columns} x {rows} pixels, above the limit of "
            f"{limits.max_slices} slices and {limits.max_side} pixels a side",
            "give a part of it",
        )
    if slices * rows * columns * samples > limits.max_pixels:
        raise problem(
            "too_large",
            name,
            f"the header declares {slices * rows * columns * samples:,} values, above the limit of "
            f"{limits.max_pixels:,}",
            "give fewer slices or a smaller image",
        )
