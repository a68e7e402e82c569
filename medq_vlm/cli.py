"""The `medq` command: arguments, exit codes and error sentences. What each command does is in commands.py.

Nothing heavy is imported here: `medq --help` and `medq info` must answer at once.
"""

from __future__ import annotations

import argparse
import difflib
import hashlib
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from medq_vlm import __version__, batch_command, commands, pacs_command, questions, restore_command, vocab
from medq_vlm.console import BROKEN_PIPE, INTERRUPTED, say

EXIT_CODES = """exit codes:
  0  done
  1  an internal error (one sentence with an id; MEDQ_DEBUG=1 shows the traceback)
  2  wrong usage, or the output cannot be written
  3  some input could not be read; each is named, the rest is done
  4  with --fail-below: an image scored below it or could not be assessed
  5  the model is missing or corrupt
When several apply, the first of 3, 4 is given. A score of 0 to 4: higher is better.
Verdicts: reject < 1.5 <= usable < 2.5 <= good. MedQ is not a medical device."""
HOMES = (batch_command, pacs_command, questions, restore_command)  # of commands that are not in commands.py
LOST = 2  # the output cannot be written, as a file that cannot
LONGEST_TEXT = 2000  # of a description from the command line


def run() -> NoReturn:
    """The program: `main`, and an end that does not first take torch apart piece by piece, a sixth of a cold start."""
    try:
        code = main()
    except SystemExit as stop:  # argparse: help, version or wrong usage
        code = stop.code if isinstance(stop.code, int) else 0
    os._exit(code if flushed() else code or LOST)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; no traceback reaches the user."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started this
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115
        if hasattr(getattr(sys, name), "reconfigure"):
            getattr(sys, name).reconfigure(errors="replace")  # an ASCII or Windows-1252 terminal must not end the run
    args, unknown = parser().parse_known_args(argv)
    if unknown:
        args.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    if args.command != "download":
        os.environ.setdefault("HF_HUB_OFFLINE", "1")  # what a library would fetch unasked, code even, stays away
    try:
        home = next((one for one in HOMES if args.command in one.COMMANDS), commands)
        run: Callable[[argparse.Namespace], int] = getattr(home, args.command)
        code = run(args)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # the reader went away: point stdout at nothing, or the interpreter complains while it closes
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return BROKEN_PIPE
    except Exception as error:
        if printing(error):
            say(f"The output cannot be written ({getattr(error, 'strerror', None) or 'unknown reason'}).")
            return LOST
        return explain(error)


def printing(error: Exception) -> bool:
    """Whether stdout did not take what a command printed: what else is written is written by other modules."""
    last = traceback.extract_tb(error.__traceback__)[-1].filename
    own = {__file__, *(str(home.__file__) for home in (commands, *HOMES))}
    return isinstance(error, OSError) and error.filename is None and last in own


def flushed() -> bool:
    """Whether stdout took all that was printed."""
    try:
        sys.stdout.flush()
        return True
    except (OSError, ValueError):
        return False


def explain(error: Exception) -> int:
    """Print one sentence for `error` and return the exit code.

    Only a MedQError's own words are shown: the text of any other exception may carry header content.
    """
    from medq_vlm.schema import MedQError

    if os.environ.get("MEDQ_DEBUG"):
        traceback.print_exception(error)
    if isinstance(error, MedQError):
        say(str(error))
        return error.exit_code
    if isinstance(error, MemoryError):
        say("There is not enough memory for this image; close other programs or give one slice at a time.")
        return 1
    if isinstance(error, ImportError):  # its text names libraries alone
        say(f"A library could not be loaded ({error}); give medq more memory if that is limited, or install it again.")
        return 1
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{Path(frame.filename).name}:{frame.name}" for frame in frames]
    number = hashlib.sha256(" ".join([type(error).__name__, *places]).encode()).hexdigest()[:8]
    say(
        f"An internal error happened ({type(error).__name__} in {places[-1]}, id {number}): a fault of medq; "
        "please report it. MEDQ_DEBUG=1 shows the details."
    )
    return 1


def parser() -> argparse.ArgumentParser:
    """The whole command line; names and exit codes are a contract."""
    top = argparse.ArgumentParser(
        prog="medq",
        description="Says how good a medical image is, why, and what to do about it.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"medq {__version__}")
    group = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, words: str) -> argparse.ArgumentParser:
        made = group.add_parser(name, help=words, description=words, allow_abbrev=False)
        made.set_defaults(parser=made)  # whose usage belongs beside a wrong option
        return made

    assess = command("assess", "assess images: score, verdict, findings, remedies")
    assess.add_argument("paths", type=place, nargs="+", metavar="PATH", help=PATH_HELP)
    assess.add_argument("--json", action="store_true", help="print JSON (a list for several images) and nothing else")
    assess.add_argument("--fail-below", type=score, metavar="SCORE", help="exit 4 when an image scores below SCORE")
    assess.add_argument("--no-color", action="store_true", help="plain text even on a terminal (as NO_COLOR does)")
    assess.add_argument(
        "--prompt", action="append", default=[], type=prompt, metavar='"GOOD | BAD"',
        help="score a pair of opposites in your own words; may be repeated",
    )  # fmt: skip
    add_reading(assess)

    ask = command("ask", "ask questions about an image in your own words")
    ask.add_argument("path", type=place, metavar="PATH", help=PATH_HELP)
    ask.add_argument("questions", nargs="+", metavar="QUESTION", help="one or more; each knows the answers before it")
    ask.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    add_reading(ask, text=False)

    compare = command("compare", "say which of two images is better, by how much and why")
    compare.add_argument("a", type=place, metavar="A", help=PATH_HELP)
    compare.add_argument("b", type=place, metavar="B", help="the same")
    compare.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    add_reading(compare, text=False)

    restore = command("restore", "restore images, led by their quality description; originals are never changed")
    restore.add_argument("paths", type=place, nargs="+", metavar="PATH", help=PATH_HELP)
    restore.add_argument(
        "-o", "--out", required=True, type=place, metavar="OUT",
        help="a folder or a .zip, where formats are kept if they can hold the result; or a file: .npy, .png, .tif, "
        ".nii.gz or .dcm",
    )  # fmt: skip
    restore.add_argument("--force", action="store_true", help=FORCE_HELP)
    restore.add_argument("--description", type=words, metavar="TEXT", help="what is wrong, in place of the findings")
    restore.add_argument("--json", action="store_true", help="print JSON (a list for several images) and nothing else")
    add_reading(restore, text=False)

    report = command("report", "write a report as PDF, HTML, JSON, FHIR or DICOM structured report")
    report.add_argument("path", type=place, metavar="PATH", help=PATH_HELP)
    report.add_argument(
        "-o", "--out", required=True, type=place, metavar="OUT", help="out.pdf, .html, .json, .fhir.json or .dcm"
    )
    report.add_argument("--link-study", action="store_true", help="a FHIR report names the DICOM study by its UID")
    report.add_argument("--force", action="store_true", help=FORCE_HELP)
    add_reading(report)

    batch = command("batch", "assess a folder into one table; one bad file never stops it")
    batch.add_argument("folder", type=place, metavar="DIR", help="searched with all folders below it")
    batch.add_argument("-o", "--out", required=True, type=place, metavar="OUT", help="out.jsonl, .csv or .parquet")
    batch.add_argument("--resume", action="store_true", help="go on with an earlier run of the same OUT")
    batch.add_argument("--rank-uncertain", action="store_true", help="the most doubtful verdicts first, for annotation")
    batch.add_argument(
        "--engine", choices=("local", "ray"), default="local",
        help="ray: on all processors, or on the cluster at RAY_ADDRESS, whose machines see DIR at the same place",
    )  # fmt: skip
    add_reading(batch)

    degrade = command("degrade", "simulate a degradation and record what was done")
    degrade.add_argument("path", type=place, nargs="?", metavar="PATH", help=PATH_HELP)
    degrade.add_argument("--list", action="store_true", help="list the kinds and stop")
    degrade.add_argument("--kind", type=kind, metavar="KIND", help="see --list")
    degrade.add_argument("--severity", type=score, metavar="0..4", help="calibrated severity; 0 changes nothing")
    degrade.add_argument("--seed", type=seed, default=0, metavar="N", help="of all chance (default 0)")
    degrade.add_argument("-o", "--out", type=place, metavar="OUT", help="out.npy, .png, .tif, .nii.gz or .dcm")
    degrade.add_argument("--force", action="store_true", help=FORCE_HELP)
    degrade.add_argument(
        "--modality", type=str.lower, choices=vocab.MODALITIES, metavar="M", help="when the file does not say"
    )

    pacs_command.arguments(command("pacs", "fetch from a PACS by DICOMweb, store reports there, watch it"), place)

    demo = command("demo", "assess a real CT image and write its report")
    demo.add_argument("--out", default="out/demo", type=place, metavar="DIR", help="for the reports (default out/demo)")

    chat = command("chat", "open the reading room in a browser (needs the clone and its extra 'app')")
    chat.add_argument("--host", default="127.0.0.1", help="address to listen on; any but this computer needs --auth")
    chat.add_argument("--port", type=int, default=7860, help="default 7860")
    chat.add_argument("--auth", action="append", metavar="USER:PASSWORD", help="login; @FILE reads one a line")
    chat.add_argument("--preset", default="nano", metavar="NAME", help="nano, or a folder with weights")
    chat.add_argument("--precision", choices=("nf4", "bf16", "fp32"), default="nf4", help="of the language model")

    command("selftest", "check the weights and the golden scores of this installation")

    info = command("info", "versions, models and word lists")
    info.add_argument("--json", action="store_true", help="print one JSON object")

    download = command("download", "fetch and check the base language model's file")
    download.add_argument("--to", type=place, metavar="DIR", help="a folder, not this Python environment")
    return top


PATH_HELP = "DICOM file, series folder or zip; NIfTI; PNG, JPEG, TIFF, BMP, WebP; .npy"
FORCE_HELP = "replace files that are there already; without it they are refused, and an input always is"


def add_reading(command: argparse.ArgumentParser, text: bool = True) -> None:
    """The options of every command that assesses an image."""
    command.add_argument("--preset", default="nano", metavar="NAME", help="nano, or a folder with weights")
    command.add_argument("--acquisition", type=words, metavar="TEXT", help="in place of the header's description")
    command.add_argument(
        "--modality", type=str.lower, choices=vocab.MODALITIES, metavar="M", help=", ".join(vocab.MODALITIES)
    )
    command.add_argument(
        "--anatomy", type=str.lower, choices=vocab.ANATOMIES, metavar="A", help=", ".join(vocab.ANATOMIES)
    )
    if text:
        command.add_argument("--no-text", action="store_true", help="leave out the written description")


def prompt(text: str) -> tuple[str, str]:
    """ "good | bad" from the command line."""
    good, _, bad = (part.strip() for part in text.partition("|"))
    if not good or not bad or "|" in bad:
        raise argparse.ArgumentTypeError(f"'{text}' is no pair; write two opposites: \"sharp edges | blurred edges\"")
    return good, bad


def place(text: str) -> str:
    """A path from the command line, never empty: that would be the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("a path must not be empty")
    if text == "-":
        raise argparse.ArgumentTypeError("standard input and output are not used; give a path")
    # the shell leaves the ~ of --out=~/a alone; Path.expanduser fails for ~nobody and rewrites ./a
    return text if os.path.lexists(text) else os.path.expanduser(text)  # noqa: PTH111


def words(text: str) -> str:
    """A description from the command line."""
    if len(text) > LONGEST_TEXT:
        raise argparse.ArgumentTypeError(f"at most {LONGEST_TEXT} characters, not {len(text)}")
    return text


def kind(text: str) -> str:
    """A degradation kind, or the nearest ones in the error."""
    if text in vocab.KIND_NAMES:
        return text
    near = difflib.get_close_matches(text.lower().replace("-", "_"), vocab.KIND_NAMES)
    near = near or [name for name in vocab.KIND_NAMES if text.lower() in name.replace("_", "")]
    meant = f"did you mean {' or '.join(near)}? " if near else ""
    raise argparse.ArgumentTypeError(f"'{text}' is no kind; {meant}'medq degrade --list' names them all")


def seed(text: str) -> int:
    """What a random generator takes."""
    value = int(text)
    if not 0 <= value < 2**63:
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 to 2**63 - 1, not {text}")
    return value


def score(text: str) -> float:
    """A number 0 to 4 from the command line."""
    value = float(text)
    if not 0.0 <= value <= 4.0:
        raise argparse.ArgumentTypeError(f"must be between 0 and 4, not {text}")
    return value


if __name__ == "__main__":
    run()
