"""The command `medq restore`: assess, restore, assess again, write the result where it was asked for."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medq_vlm.console import DONE, UNREADABLE, progress_bar, say, usage, writing
from medq_vlm.reading import Assessed, Reader, assessed

if TYPE_CHECKING:
    from medq_vlm.io.derived import Derived, File
    from medq_vlm.io.originals import Originals
    from medq_vlm.restoring import Restored

COMMANDS = ("restore",)
LABEL = "MedQ restored"  # in the series description


def restore(args: Namespace) -> int:
    """Restore each image or series behind the paths; no input is ever overwritten, and no other file unasked."""
    from medq_vlm.io.files import refuse_inputs
    from medq_vlm.schema import MedQError, ModelError

    place = Place(Path(args.out), args.paths, args.force)
    refuse_inputs([place.out, place.residual(1)], args.paths)
    place.free([place.out] if place.ending else [], [place.residual(1)])
    args.no_text, args.restores = True, True  # the restorer reads the findings and their words, not prose
    reader = Reader(args.paths)
    images = assessed(reader, args)
    first, second = next(images, None), next(images, None)
    if first is None:
        return UNREADABLE if reader.failed else DONE
    place.alone = second is None
    if place.is_file and not place.alone:
        raise usage("The paths hold several images or series: give a folder or a .zip to -o.")
    results, refused = [], DONE
    for one in chain([first], [] if second is None else [second], images):
        try:
            result = restore_one(one, place, args)
        except ModelError:
            raise
        except MedQError as error:  # of this image alone: a target that is there, a format that cannot hold it
            if place.alone:
                raise
            say(str(error))
            refused = refused or error.exit_code
            continue
        results.append(result)
        if not args.json:
            print("\n" * (len(results) > 1) + as_text(result), flush=True)
    place.close()
    if args.json:
        single = len(args.paths) == 1 and len(results) == 1
        print(json.dumps(results[0] if single else results, indent=2, allow_nan=False))
    return UNREADABLE if reader.failed else refused


def restore_one(one: Assessed, place: Place, args: Namespace) -> dict[str, Any]:
    """Restore an assessed image, write it, and say what was done. Raises MedQError."""
    from medq_vlm import restoring
    from medq_vlm.report.residual import residual_png

    with progress_bar(one.sample) as progress:
        done = one.model.restored(one.sample, one.result, args.description, progress)
    made = done.restoration
    after = one.result if made.unchanged else one.model.assess_sample(made.sample)
    identity = None if made.unchanged else one.model.restorer_identity
    result = restoring.record(done, one.result, after, args.description is not None, identity)
    number = place.next()
    with writing(place.out):
        place.free([] if made.unchanged else [place.residual(number)])
        paths, notes = place.write(one, done, number)
        result["outputs"] = [str(path) for path in paths]
        result["warnings"] += [*one.sample.warnings, *notes]  # such as: the file holds 3 volumes, the first is read
        if not made.unchanged:
            plane = made.residual[restoring.shown_slice(made)]
            result["residual_picture"] = str(place.put(residual_png(plane, one.sample.unit), place.residual(number)))
    restoring.validate(result)
    return result


class Place:
    """Where results go: one file, a folder, or a zip, by the name given to -o."""

    def __init__(self, out: Path, paths: list[str], force: bool = False) -> None:
        from medq_vlm.io.write import WRITERS

        self.out, self.paths, self.force = out, paths, force
        name = out.name.lower()
        self.ending = next((end for end in (".zip", ".nii.gz", *WRITERS) if name.endswith(end)), "")
        if out.is_dir():
            self.ending = ""
        elif out.suffix and not self.ending and not out.suffix[1:].isdecimal():  # a date is no ending
            ends = ", ".join(WRITERS)
            raise usage(f"'{out}' has no known ending; give a folder, a .zip, or one of {ends}.")
        self.alone = True  # one image behind all paths
        self.count = 0
        self._originals: dict[str, Originals] = {}
        self._used: set[str] = set()
        self._packed: list[File] = []

    @property
    def is_file(self) -> bool:
        return self.ending not in ("", ".zip")

    def next(self) -> int:
        """Number of the image at hand, from 1."""
        self.count += 1
        return self.count

    def free(self, *targets: Sequence[Path]) -> None:
        """Raise MedQError when a target is there already and no one said that it may be replaced."""
        from medq_vlm.io.files import refuse_existing

        refuse_existing(chain(*targets), self.force)

    def residual(self, number: int) -> Path:
        """Where the residual picture of an image lies: beside OUT."""
        stem = self.out.name[: len(self.out.name) - len(self.ending)]
        return self.out.with_name(f"{stem}_residual.png" if self.alone else f"{stem}_residual-{number}.png")

    def write(self, one: Assessed, done: Restored, number: int) -> tuple[list[Path], list[str]]:
        """The paths written for an image, and what must be told about them. Raises MedQError."""
        from medq_vlm import __version__, restoring
        from medq_vlm.io.derived import Story, copies, derive, save
        from medq_vlm.io.files import refuse_inputs
        from medq_vlm.io.write import write
        from medq_vlm.schema import MedQError

        after = done.restoration.sample
        story = Story(restoring.note(done, __version__), LABEL, "MedQ", __version__)
        original = self._original(one)
        wanted = self.ending if self.is_file else None
        files = None
        if done.restoration.unchanged:
            files = copies(original, wanted)
        files = files or derive(original, one.sample, after, story, wanted)
        if files is None:  # another format than the original's: pixels, units and spacing, without its header
            write(after, self.out, story.note)
            return [self.out], []
        if self.is_file and len(files.files) > 1:
            raise MedQError(f"The series is {len(files.files)} files; give a folder or a .zip to -o.")
        if self.is_file:
            return save(files.files, self.out), list(files.notes)
        named = self._named(one, files, number)
        if self.ending == ".zip":
            self._packed += named
            return [self.out], list(files.notes)
        targets = [self.out / file.name for file in named]
        refuse_inputs(targets, self.paths)
        self.free(targets)
        return save(named, self.out), list(files.notes)

    def put(self, data: bytes, path: Path) -> Path:
        """Write bytes to a path."""
        from medq_vlm.io.files import put

        return put(path, data)

    def close(self) -> None:
        """Write what waits: a zip holds all images."""
        from medq_vlm.io.derived import save

        if self._packed:
            with writing(self.out):
                save(self._packed, self.out)

    def _original(self, one: Assessed) -> Any:
        """The files of a sample; each path is looked through once."""
        from medq_vlm.io.originals import Originals
        from medq_vlm.schema import MedQError

        error: MedQError | None = None
        likely = sorted(self.paths, key=lambda path: not one.sample.path.startswith(path))
        for path in likely:  # a file of a folder or a zip begins with its path, mostly: "./in" gives "in/1.dcm"
            try:
                if path not in self._originals:
                    self._originals[path] = Originals(path)
                return self._originals[path].of(one.sample)
            except MedQError as found:
                error = error or found
        raise error or MedQError(f"'{one.sample.path}' is not there any more.")

    def _named(self, one: Assessed, files: Derived, number: int) -> list[File]:
        """Files with the names they get in a folder or zip: the given name of a single file, numbers for a series."""
        from dataclasses import replace

        if len(files.files) > 1:
            return [file if self.alone else replace(file, name=f"series-{number}/{file.name}") for file in files.files]
        stem = Path(one.sample.path).name
        if stem.endswith(")"):  # a member of a zip: its name stays in the zip
            stem = f"image-{number}"
        for ending in (".nii.gz", Path(stem).suffix):
            if ending and stem.lower().endswith(ending.lower()):
                stem = stem[: -len(ending)]
                break
        name = f"{stem}{files.ending}"
        if name in self._used:
            name = f"{stem}-{number}{files.ending}"
        self._used.add(name)
        return [replace(files.files[0], name=name)]


def as_text(result: dict[str, Any]) -> str:
    """The result for a terminal."""
    from medq_vlm import vocab
    from medq_vlm.report.content import clean, number, percent

    change, lines = result["change"], [clean(result["source"]["path"])]
    shown = [_score_words(result[when]) for when in ("before", "after")]
    if result["unchanged"]:
        lines.append(f"  Unchanged: {shown[0]}.")
    else:
        names = ", ".join(vocab.KIND[kind].plain for kind in result["treated"])
        unit = "" if change["unit"] == "value" else f" {change['unit']}"
        lines += [
            f"  Treated: {names}.",
            f"  Before: {shown[0]}. After: {shown[1]}.",
            f"  Changed: rms {number(change['rms'])}{unit}, {percent(change['changed_share'])} of the pixels by more "
            "than 1 % of the range.",
        ]
    lines += [f"  Note: {clean(words)}" for words in result["warnings"]]
    written = result["outputs"]
    lines.append(f"  Wrote {written[0]}" + (f" and {len(written) - 1} more" if len(written) > 1 else ""))
    if result["residual_picture"]:
        lines.append(f"  Wrote {result['residual_picture']}")
    return "\n".join(lines)


def _score_words(one: dict[str, Any]) -> str:
    if one["score"] is None:
        return "not assessable"
    from medq_vlm import vocab

    return f"score {vocab.score_text(one['score'])} of 4, {one['verdict']}"
