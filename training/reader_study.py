"""The CT reader study of the training data as a manifest for stage 2.

    python -m training.reader_study --data images --domain brain --out runs/readers.csv

Score: the mean of contrast and structure on their 1 to 5 scales; slips above 5 and the fixed anchors (low dose, normal
dose) are left out. Versions of one slice are one group; with `--leave domain` all of the abdomen is one, and all of the
brain, so that stage 2 is tested on the organ that it did not learn.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

ANCHORS = ("LDCT", "NDCT")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--domain", choices=("abdomen", "brain"), help="left out: both")
    parser.add_argument("--leave", choices=("slice", "domain"), default="slice", help="what is one group")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    with (args.data / "labels" / "ct_reader_study.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["method"] not in ANCHORS]
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with args.out.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "score", "rater", "group", "modality"])
        for row in rows:
            given = [float(row[name]) for name in ("contrast_1_5", "structure_1_5") if row[name]]
            valid = [value for value in given if 1 <= value <= 5]
            if valid and args.domain in (None, row["domain"]):
                path = (args.data / row["path"]).resolve()
                group = row["domain"] if args.leave == "domain" else f"{row['domain']} {row['set']}"
                table.writerow([path, sum(valid) / len(valid), row["reader"], group, "ct"])


if __name__ == "__main__":
    main()
