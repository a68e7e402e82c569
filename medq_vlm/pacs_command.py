"""The command `medq pacs`: fetch series from a DICOMweb server, store reports there, or do both for what is new.

Objects of the archive are never changed: a report is a new object of the same study. What is fetched to be assessed
lies in a temporary folder that is gone afterwards, and no UID or header value is printed.
"""

from __future__ import annotations

import hashlib
import json
import time
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from medq_vlm.console import DONE, INTERRUPTED, UNREADABLE, say, usage, writing
from medq_vlm.reading import Reader, assess_one, load_model

if TYPE_CHECKING:
    from medq_vlm.pacs import Pacs, Series
    from medq_vlm.pipeline import MedQ

COMMANDS = ("pacs",)
IMAGES = ("CT", "MR", "CR", "DX", "XA", "RF", "MG", "US", "PT", "OP", "OPT", "ES", "SM")  # worth fetching unasked
LOOPBACK = ("localhost", "127.0.0.1", "::1")


def arguments(command: ArgumentParser, place: Callable[[str], str]) -> None:
    """The options of `medq pacs`; `place` checks a path."""
    group = command.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(name: str, words: str) -> ArgumentParser:
        made = group.add_parser(name, help=words, description=words, allow_abbrev=False)
        made.add_argument("url", metavar="URL", help="of the DICOMweb server, such as https://pacs/dicom-web")
        made.add_argument("--auth", type=login, metavar="USER:PASSWORD", help="login; @FILE reads it from a file")
        made.set_defaults(parser=made)
        return made

    pull = action("pull", "fetch the series of a study, each into a folder of its own")
    pull.add_argument("--study", required=True, metavar="UID", help="Study Instance UID")
    pull.add_argument("--series", metavar="UID", help="Series Instance UID, for one series of it")
    pull.add_argument("-o", "--out", required=True, type=place, metavar="DIR", help="a new or empty folder")
    push = action("push", "store DICOM files, such as reports, as new objects")
    push.add_argument("paths", type=place, nargs="+", metavar="FILE", help=".dcm files")
    watch = action("watch", "assess new series and store a structured report of each")
    watch.add_argument("--modality", type=str.upper, choices=IMAGES, metavar="M", help=f"only {', '.join(IMAGES)}")
    watch.add_argument("--since", type=day, metavar="YYYYMMDD", help="study date to begin with (default: today)")
    watch.add_argument("--every", type=seconds, default=30.0, metavar="S", help="seconds between looks (default 30)")
    watch.add_argument("--once", action="store_true", help="look once and stop")
    watch.add_argument(
        "--state", default="medq-watch.jsonl", type=place, metavar="FILE",
        help="which series are done (default medq-watch.jsonl); it holds hashes, no UIDs",
    )  # fmt: skip
    watch.add_argument("--preset", default="nano", metavar="NAME", help="nano, or a folder with weights")


def pacs(args: Namespace) -> int:
    """Fetch, store, or watch."""
    from medq_vlm.pacs import Pacs

    if args.auth and args.url.startswith("http://") and urlsplit(args.url).hostname not in LOOPBACK:
        say("The login travels unencrypted to this address; https:// would protect it.")
    actions: dict[str, Callable[[Pacs, Namespace], int]] = {"pull": pull, "push": push, "watch": watch}
    with Pacs(args.url, args.auth) as server:
        return actions[args.action](server, args)


def pull(server: Pacs, args: Namespace) -> int:
    """Every series of a study to OUT/1, OUT/2, ..."""
    out = Path(args.out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise usage(f"'{out}' is there already and holds something; give another folder.")
    found = [one for one in server.series(args.study) if args.series in (None, one.series)]
    if not found:
        raise usage("The server knows no such series; check the UIDs.")
    for number, one in enumerate(found, start=1):
        folder = out / str(number)
        with writing(folder):
            folder.mkdir(parents=True)
            files = server.pull(one, folder)
        print(f"{folder}: {one.modality or 'unknown modality'}, {len(files)} file{'s' * (len(files) != 1)}", flush=True)
    return DONE


def push(server: Pacs, args: Namespace) -> int:
    """Store files one by one; what is no DICOM file is named and left."""
    from medq_vlm.io.sniff import kind_of

    failed = 0
    for path in map(Path, args.paths):
        try:
            data = path.read_bytes()
        except OSError as error:
            say(f"'{path}' cannot be read ({error.strerror or 'unknown reason'}).")
            failed += 1
            continue
        if kind_of(data[:512]) != "dicom":
            say(f"'{path}' is no DICOM file, and nothing else is stored.")
            failed += 1
            continue
        server.push([data])
        print(f"stored {path}", flush=True)
    return UNREADABLE if failed else DONE


def watch(server: Pacs, args: Namespace) -> int:
    """Look for series that are not done, assess them, store reports; a series that still grows is left for the next."""
    model: MedQ | None = None
    seen, sizes, failed = done(Path(args.state)), dict[str, int](), 0
    try:
        while True:
            for one in fresh(server, args, seen):
                name = hashed(one)
                if not args.once and sizes.get(name) != one.images:
                    sizes[name] = one.images  # it may still be arriving
                    continue
                model = model or load_model(args.preset)
                failed += not report(server, one, model)
                seen.add(name)
                remember(Path(args.state), name)
            if args.once:
                return UNREADABLE if failed else DONE
            time.sleep(args.every)
    except KeyboardInterrupt:
        return INTERRUPTED


def fresh(server: Pacs, args: Namespace, seen: set[str]) -> Iterator[Series]:
    """Series of images that are not done."""
    for one in server.series(modality=args.modality, since=args.since or time.strftime("%Y%m%d")):
        if one.modality in IMAGES and hashed(one) not in seen:
            yield one


def report(server: Pacs, series: Series, model: MedQ) -> bool:
    """Assess a series and store a report of each image in it; whether all of it could be read."""
    from medq_vlm.io.originals import Originals, referred
    from medq_vlm.report.content import verdict_head
    from medq_vlm.report.sr import to_sr
    from medq_vlm.schema import MedQError

    with TemporaryDirectory(prefix="medq-") as folder:
        server.pull(series, Path(folder))
        reader = Reader([folder])
        originals = Originals(folder)
        for sample in reader:
            result = assess_one(model, sample, Namespace(**PLAIN)).result
            words = f"{series.modality}, {sample.slices} image{'s' * (sample.slices != 1)}"
            if not result.assessable:
                print(f"{words}: not assessable, no report. {result.reason}", flush=True)
                continue
            try:
                server.push([to_sr(result, referred(originals.of(sample)))])
            except MedQError as error:
                say(f"{words}: no report stored. {error}")
                reader.failed += 1
                continue
            print(f"{words}: {verdict_head(result)[0]}, score {result.score:.1f} of 4, report stored", flush=True)
    return not reader.failed


PLAIN: dict[str, Any] = {"modality": None, "anatomy": None, "acquisition": None, "no_text": True}


def hashed(series: Series) -> str:
    """What stands for a series in the state: its UID is a person's and stays out."""
    return hashlib.sha256(series.series.encode()).hexdigest()


def done(state: Path) -> set[str]:
    """The series of an earlier run. Raises MedQError."""
    if not state.exists():
        return set()
    try:
        return {str(json.loads(line)["series"]) for line in state.read_text(encoding="utf-8").splitlines() if line}
    except (OSError, ValueError, TypeError, KeyError):
        raise usage(f"'{state}' is no state of 'medq pacs watch'; give another --state.") from None


def remember(state: Path, name: str) -> None:
    """Add a series to the state. Raises MedQError."""
    with writing(state), state.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"series": name}) + "\n")


def login(text: str) -> tuple[str, str]:
    """ "user:password", or the first line of the file behind "@file"."""
    if text.startswith("@"):
        try:
            text = Path(text[1:]).expanduser().read_text(encoding="utf-8").split("\n", 1)[0].strip()
        except (OSError, ValueError):
            raise ArgumentTypeError(f"'{text[1:]}' cannot be read") from None
    user, colon, password = text.partition(":")
    if not user or not colon:
        raise ArgumentTypeError("a login is USER:PASSWORD, or @FILE with one")
    return user, password


def day(text: str) -> str:
    """YYYYMMDD."""
    try:
        time.strptime(text, "%Y%m%d")
    except ValueError:
        raise ArgumentTypeError(f"'{text}' is no day; write it as 20261124") from None
    return text


def seconds(text: str) -> float:
    """A pause of at least a second."""
    value = float(text)
    if not 1.0 <= value <= 86_400.0:
        raise ArgumentTypeError(f"must be 1 to 86400 seconds, not {text}")
    return value
