"""`medq batch --engine ray` on a real Ray: the local engine's table, on any cluster, whatever a worker does."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from medq_vlm import cli, cluster, tables
from medq_vlm.io.examples import CT_SMALL, MR_SMALL, example

ROOT = Path(__file__).parents[1]
LONGEST = 240  # seconds; a run takes about ten
DEADLY = """
import os, sys
from medq_vlm import cli, cluster

class Deadly(cluster.Worker):
    def assess_row(self, model, sample):
        if "kills" in sample.path:
            os._exit(1)
        if "raises" in sample.path:
            raise ValueError("Doe^Jane")
        return super().assess_row(model, sample)

if __name__ == "__main__":
    import deadly  # by its name: what a worker cannot import must be sent, and this cannot

    cluster.Worker = deadly.Deadly
    sys.exit(cli.main(sys.argv[1:]))
"""
TWO_MACHINES = """
import os, subprocess, sys
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
from ray.cluster_utils import Cluster

node = {"num_cpus": 1, "object_store_memory": 100 * 2**20}
machines = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
machines.add_node(**node)
os.environ["RAY_ADDRESS"] = machines.address
code = subprocess.run([sys.executable, "-m", "medq_vlm.cli", *sys.argv[1:]]).returncode
machines.shutdown()
sys.exit(code)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two folders of one DICOM file each and a file that cannot be read."""
    folder = tmp_path / "in"
    for name in (CT_SMALL, MR_SMALL):
        put(folder / name.split("_")[0] / "a.dcm", name)
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    return folder


def put(place: Path, name: str) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(example(name).read_bytes())


def ran(*given: str | Path, module: str = "medq_vlm.cli", **environment: str) -> subprocess.CompletedProcess[str]:
    """`medq batch --no-text` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", module, "batch", "--no-text", *map(str, given)],
        env=os.environ | environment, capture_output=True, text=True, timeout=LONGEST,
    )  # fmt: skip


def rows_of(out: Path) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name != "created"} for row in tables.read(out)]


def finished_in(journal: Path) -> set[str]:
    """The units that a run has ended; its last line may not be whole yet."""
    lines = journal.read_text().split("\n")[:-1] if journal.exists() else []
    return {json.loads(line).get("finished") for line in lines} - {None}


def left_behind() -> list[Path]:
    return list(Path("/tmp").glob("medq-ray-*"))


def test_the_table_is_that_of_the_local_engine(folder: Path, tmp_path: Path) -> None:
    local = ran(folder, "-o", tmp_path / "a.jsonl")
    spread = ran(folder, "-o", tmp_path / "b.jsonl", "--engine", "ray")
    assert (spread.returncode, spread.stdout) == (3, "")
    assert spread.stderr.replace("b.jsonl", "a.jsonl") == local.stderr
    assert rows_of(tmp_path / "b.jsonl") == rows_of(tmp_path / "a.jsonl")
    assert not left_behind()


def test_a_cluster_of_two_machines_sees_a_folder_named_from_here(folder: Path, tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", TWO_MACHINES, "batch", "in", "-o", "t.jsonl", "--no-text", "--engine", "ray"],
        cwd=tmp_path, capture_output=True, text=True, timeout=LONGEST,
    )  # fmt: skip
    assert ended.returncode == 3, ended.stderr
    assert [Path(row["unit"]).name for row in rows_of(tmp_path / "t.jsonl")] == ["CT", "MR", "broken.png"]


def test_what_ends_its_worker_is_a_row_and_the_others_are_assessed(folder: Path, tmp_path: Path) -> None:
    put(folder / "kills" / "a.dcm", CT_SMALL)
    put(folder / "raises" / "a.dcm", CT_SMALL)
    out = tmp_path / "t.jsonl"
    (tmp_path / "deadly.py").write_text(DEADLY)
    ended = ran(folder, "-o", out, "--engine", "ray", module="deadly", PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert ended.returncode == 3
    assert "Doe" not in ended.stderr + out.read_text()
    told = {Path(row["unit"]).name: row["error"] for row in rows_of(out)}
    assert told["CT"] is told["MR"] is None
    assert "died" in told["kills"]
    assert "ValueError" in told["raises"]
    again = ran(folder, "-o", out, "--engine", "ray", "--resume")
    assert {Path(row["unit"]).name for row in rows_of(out) if row["error"]} == {"broken.png"}
    assert "2 of them from before" in again.stderr


def test_an_interrupted_run_goes_on_and_leaves_no_process(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "t.jsonl"
    more = 40  # so many that it cannot end before it is interrupted
    for number in range(more):
        put(folder / f"more{number}" / "a.dcm", CT_SMALL)
    command = [sys.executable, "-m", "medq_vlm.cli", "batch", str(folder), "-o", str(out), "--no-text"]
    running = subprocess.Popen([*command, "--engine", "ray"], stderr=subprocess.PIPE, text=True, start_new_session=True)
    journal = tables.journal_of(out)
    end = time.monotonic() + LONGEST
    while time.monotonic() < end and not finished_in(journal):
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGINT)
    assert "--resume" in running.communicate(timeout=LONGEST)[1]
    assert running.returncode == 130
    assert not left_behind()
    before = len(finished_in(journal) - {str(folder / "broken.png")})
    ended = ran(folder, "-o", out, "--engine", "ray", "--resume")
    assert len(rows_of(out)) == more + 3
    assert f"; {before} of them from before" in ended.stderr


def test_a_cluster_that_is_not_there_is_one_sentence(folder: Path, tmp_path: Path) -> None:
    ended = ran(folder, "-o", tmp_path / "t.csv", "--engine", "ray", RAY_ADDRESS="127.0.0.1:1")
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert "RAY_ADDRESS=127.0.0.1:1" in ended.stderr


def test_missing_weights_are_told_as_the_local_engine_does(folder: Path, tmp_path: Path) -> None:
    told = [
        ran(folder, "-o", tmp_path / f"{engine}.csv", "--engine", engine, "--preset", str(tmp_path))
        for engine in ("local", "ray")
    ]
    assert told[0].returncode == told[1].returncode == 5
    assert told[0].stderr.splitlines()[-1] == told[1].stderr.splitlines()[-1]


def test_without_ray_the_command_says_what_to_install(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cluster, "find_spec", lambda name: None if name == "ray" else importlib.util.find_spec(name))
    assert cli.main(["batch", str(folder), "-o", str(tmp_path / "t.csv"), "--engine", "ray"]) == 2
    assert "pip install" in capsys.readouterr().err
    assert not tables.journal_of(tmp_path / "t.csv").exists()


def test_a_unit_is_tried_as_often_as_it_was_begun_and_not_ended() -> None:
    tries = cluster.Tries()
    assert [tries.begin(7), tries.begin(7), tries.begin(8)] == [1, 2, 1]
    tries.end(7)
    assert tries.begin(7) == 1
