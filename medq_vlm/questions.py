"""The commands that talk about images: `medq ask` and `medq compare`."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

from medq_vlm.console import DONE, UNREADABLE, usage
from medq_vlm.reading import Reader, assessed

COMMANDS = ("ask", "compare")


def ask(args: Namespace) -> int:
    """Answer questions about each image behind the path, one after the other; an answer knows the earlier ones."""
    from medq_vlm.report.content import clean, image_name

    reader = Reader([args.path])
    args.no_text = True  # the description is not asked for; the language part is loaded at the first question
    conversations = []
    alone = Path(args.path).is_file()
    for one in assessed(reader, args):
        if not (args.json or alone):  # a folder may hold several
            print(f"{clean(one.result.source['path'])}: {image_name(one.result)}", flush=True)
        history: list[tuple[str, str]] = []
        for question in args.questions:
            pieces = []
            for piece in one.model.ask(one.encoded, one.result, question, history):
                pieces.append(piece)
                if not args.json:
                    print(piece, end="", flush=True)
            if not args.json:
                print()
            history.append((question, "".join(pieces)))
        rows = [{"question": question, "answer": answer} for question, answer in history]
        conversations.append({"source": one.result.source, "verdict": one.result.verdict, "answers": rows})
    if args.json and conversations:
        print(json.dumps(conversations[0] if len(conversations) == 1 else conversations, indent=2, allow_nan=False))
    return UNREADABLE if reader.failed else DONE


def compare(args: Namespace) -> int:
    """Say which of two images is better, by how much and why."""
    args.no_text = True
    reader = Reader([args.a, args.b])
    pair = list(assessed(reader, args))
    if reader.failed:
        return UNREADABLE
    if len(pair) != 2:
        raise usage(f"The paths hold {len(pair)} images or series, and 'medq compare' takes one in each.")
    a, b = pair
    from medq_vlm.language.pair import not_comparable

    pieces = a.model.compare((a.encoded, a.result), (b.encoded, b.result))
    if not args.json:
        for piece in pieces:
            print(piece, end="", flush=True)
        print()
        return DONE
    text = "".join(pieces)
    apart = not_comparable(a.result, b.result)
    gap = None if apart else round((a.result.score or 0.0) - (b.result.score or 0.0), 4)
    told = [one.result.to_dict() for one in pair]
    images = [{name: result[name] for name in ("source", "score", "verdict")} for result in told]
    print(
        json.dumps({"a": images[0], "b": images[1], "comparable": not apart, "difference": gap, "text": text}, indent=2)
    )
    return DONE
