"""Imports point one way, each outside library has one home, and the light commands stay light."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = (
    {"medq_vlm"},  # the package's own __init__: the version and nothing else
    {"kinds", "kinds_by_modality"},  # the texts of the word lists
    {"vocab"},
    {"config", "intensity", "field_of_view", "projection", "memory", "beside", "treated"},
    {"schema"},
    {"io", "degrade", "evidence", "encoder", "language", "restore", "report", "phantoms"},
    {"checkpoint"},
    {"slice_scores", "outliers", "annotations"},
    {"stack"},
    {"findings", "judge", "purpose"},
    {"talk", "restoring"},
    {"pipeline"},
    {"batch", "pacs", "selftest", "illustrate", "about"},
    {"tables"},
    {"console"},
    {"reading"},
    {"cluster"},
    {"commands", "batch_command", "pacs_command", "questions", "restore_command"},
    {"cli"},
    {"eval"},
    {"training", "app"},
)
RANK = {block: rank for rank, layer in enumerate(LAYERS) for block in layer}
PACKAGES = ("medq_vlm", "training", "eval", "app")
HOME = {  # the only block of medq_vlm that may import the library
    "pydicom": "io",
    "nibabel": "io",
    "tifffile": "io",
    "fpdf": "report",
    "highdicom": "report",
    "fhir": "report",
    "httpx": "pacs",
    "python_multipart": "pacs",
    "open_clip": "encoder",
    "timm": "encoder",
    "transformers": "language",
    "peft": "language",
    "bitsandbytes": "language",
    "llguidance": "language",
    "ray": "cluster",
}
HEAVY = ("torch", "ray", "numpy", "pydicom", "PIL", "scipy", "nibabel", "timm", "open_clip")


def sources(*packages: str) -> list[Path]:
    return sorted(path for name in packages for path in (ROOT / name).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Absolute dotted names that a file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def block(dotted: str) -> str:
    """The block of a dotted name: medq_vlm.io.dicom is in io, training.loop in training."""
    parts = dotted.split(".")
    if parts[0] != "medq_vlm":
        return parts[0]
    return parts[1] if len(parts) > 1 and parts[1] in RANK else "medq_vlm"


def block_of_file(path: Path) -> str:
    return block(".".join(path.relative_to(ROOT).with_suffix("").parts))


def place(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_every_file_of_the_package_has_a_layer() -> None:
    parts = [path for path in (ROOT / "medq_vlm").iterdir() if path.suffix == ".py" or path.is_dir()]
    assert {path.stem for path in parts} - {"__init__", "__pycache__", "weights"} <= set(RANK)


def test_imports_point_one_way() -> None:
    wrong = []
    for path in sources(*PACKAGES):
        own = block_of_file(path)
        inside = [name for name in imports(path) if name.split(".")[0] in PACKAGES]
        wrong += [
            f"{place(path)} imports {name}: {block(name)} is not below {own}"
            for name in inside
            if block(name) != own and RANK[block(name)] >= RANK[own]
        ]
    assert not wrong


def test_each_library_has_one_home() -> None:
    wrong = [
        f"{place(path)} imports {name}, which only {HOME[name.split('.')[0]]} may"
        for path in sources("medq_vlm")
        for name in imports(path)
        if HOME.get(name.split(".")[0]) not in (None, block_of_file(path))
    ]
    assert not wrong


def test_no_file_is_longer_than_400_lines() -> None:
    lengths = {place(path): len(path.read_text(encoding="utf-8").splitlines()) for path in sources(*PACKAGES)}
    assert {name: length for name, length in lengths.items() if length > 400} == {}


@pytest.mark.parametrize(
    ("package", "extras"),
    [("medq_vlm", {"cluster"}), ("eval", {"train", "app"}), ("training", {"train"}), ("app", {"app"})],
)
def test_every_outside_import_is_declared(package: str, extras: set[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = project["dependencies"] + [line for extra in extras for line in project["optional-dependencies"][extra]]
    declared = {re.split(r"[\[>=]", line)[0].strip().lower().replace("_", "-") for line in lines}
    owners = metadata.packages_distributions()
    for path in sources(package):
        for name in imports(path):
            top = name.split(".")[0]
            if top in sys.stdlib_module_names or top in PACKAGES:
                continue
            known = {owner.lower().replace("_", "-") for owner in owners.get(top, [])}
            assert known & declared, f"{path.relative_to(ROOT)} imports {top}, not declared for {package}"


@pytest.mark.parametrize("arguments", [["--help"], ["info"], ["info", "--json"], ["degrade", "--list"]])
def test_light_commands_import_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom medq_vlm import cli\n"
        f"try: cli.main({arguments!r})\nexcept SystemExit: pass\n"
        f"print(*sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout
    assert done.stderr.strip() == ""


def test_our_towers_load_little_and_leave_the_packages_whole_for_others() -> None:
    code = (
        "import sys\nfrom medq_vlm.encoder import backbone\nbackbone.build_clip('nano')\n"
        "left = {name.partition('.')[0] for name in sys.modules}\n"
        "assert not left & {'timm', 'open_clip', 'torchvision', 'transformers', 'huggingface_hub'}, left\n"
        "assert 'torch._dynamo' not in sys.modules\n"
        "import huggingface_hub, open_clip, timm, torchvision\n"
        "assert timm.is_model('vit_base_patch16_224') and open_clip.create_model\n"
        "assert torchvision.ops.misc.FrozenBatchNorm2d.__name__ == 'FrozenBatchNorm2d'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
