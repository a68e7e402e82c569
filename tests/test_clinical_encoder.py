"""A CLIP of BiomedCLIP's format as the scorer's towers: loading, training, export, and an assessment with words."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import open_clip
import pytest
import torch
from PIL import Image

from medq_vlm import checkpoint, cli, io, vocab
from medq_vlm.config import ScorerConfig
from medq_vlm.encoder import foreign
from medq_vlm.encoder.predict import heat_map
from medq_vlm.encoder.scorer import Scorer
from medq_vlm.io.examples import CT_HEAD, example
from medq_vlm.pipeline import MedQ
from medq_vlm.schema import ModelError
from tests import small_models
from training import export_describer, synthesize, train_describer, train_quality


@pytest.fixture(scope="module", autouse=True)
def one_thread_and_no_hub() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_models.bert(tmp_path_factory.mktemp("text") / "bert")


@pytest.fixture(scope="module")
def clip(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_models.biomedclip(tmp_path_factory.mktemp("clip") / "biomedclip", str(text))


@pytest.fixture(scope="module")
def model(clip: Path) -> Scorer:
    name = f"local-dir:{clip}"
    scorer = Scorer(ScorerConfig(clip=name)).eval()
    foreign.load_weights(scorer.clip, name)
    return scorer


def test_both_weight_files_give_the_same_towers(model: Scorer, text: Path, tmp_path: Path) -> None:
    name = f"local-dir:{small_models.biomedclip(tmp_path / 'pickled', str(text), safetensors=False)}"
    other = foreign.build(name)
    foreign.load_weights(other.clip, name)
    own = model.clip.state_dict()
    assert all(torch.equal(own[key], value) for key, value in other.clip.state_dict().items())


def test_the_trunk_sees_what_open_clips_own_preprocessing_shows_it(model: Scorer, clip: Path) -> None:
    _, picture_to_input = open_clip.create_model_from_pretrained(f"local-dir:{clip}")
    pixels = torch.randint(0, 256, (160, 160, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    wanted = picture_to_input(Image.fromarray(pixels.numpy()))[None]
    planes = pixels.permute(2, 0, 1)[None] / 255
    trunk = model.clip.visual.trunk
    with torch.no_grad():
        expected = trunk.forward_intermediates(wanted, intermediates_only=True)
        found = model.maps(planes)
    assert len(found) == foreign.MAPS
    assert torch.allclose(found[-1], expected[-1], atol=1e-4)


def test_a_grey_view_of_any_size_gives_features_of_one_length(model: Scorer) -> None:
    with torch.no_grad():
        grey, colour = model.view_tokens(torch.rand(1, 1, 96, 96)), model.view_tokens(torch.rand(1, 3, 128, 128))
    assert grey.shape == colour.shape == (1, model.pooled_width)


def test_prompts_are_told_apart_and_their_learned_marks_are_gone(model: Scorer) -> None:
    marked, plain = model.tokenize(["<ctx0><ctx1> an image with no noise"]), model.tokenize(["an image with no noise"])
    assert torch.equal(marked, plain)
    assert len({tuple(row) for row in model.prompt_ids.tolist()}) == len(model.prompt_ids)
    with torch.no_grad():  # a text means the same beside a longer one
        alone, beside = (
            model.clip.encode_text(model.tokenize(texts))[0] for texts in (["ct"], ["ct", "ct noise " * 9])
        )
    assert torch.allclose(alone, beside, atol=1e-5)


def test_a_downloaded_folder_needs_the_text_towers_files_beside_it(text: Path, clip: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(clip, tmp_path / "downloaded")
    config = json.loads((folder / foreign.CONFIG_FILE).read_text())
    for key in ("hf_model_name", "hf_tokenizer_name"):
        config["model_cfg"]["text_cfg"][key] = small_models.BIOMEDBERT
    (folder / foreign.CONFIG_FILE).write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"'microsoft/.*put its config.json and tokenizer files beside"):
        foreign.build(f"local-dir:{folder}")
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(text / name, folder / name)
    assert foreign.build(f"local-dir:{folder}").tokenize(["ct noise"]).shape == (1, foreign.CONTEXT_LENGTH)


@pytest.mark.parametrize("name", ["local-dir:nowhere", "hf-hub:nobody/nothing"])
def test_a_clip_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(ModelError, match=f"There is no CLIP at {name}"):
        Scorer(ScorerConfig(clip=name))


@pytest.fixture(scope="module")
def preset(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A preset trained for a step on phantoms, with a describer on a small Qwen3, and moved to another place."""
    work = tmp_path_factory.mktemp("work")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthesize, "QUADS_PER_SHARD", 4)
        for split in ("train", "validation"):
            synthesize.main(["--out", str(work / "shards"), "--shards", "1", "--split", split])
        source = shutil.copytree(clip, work / "clip")
        common = ["--shards", str(work / "shards"), "--out", str(work / "run"), "--head-epochs", "1", "--cpu"]
        train_quality.main([*common, "--clip", f"local-dir:{source}", "--steps", "1", "--batch", "16"])
    base = small_models.qwen3(work / "qwen3")
    train_describer.main(["--base", str(base), "--out", str(work / "words"), "--steps", "1", "--rank", "4", "--cpu"])
    export_describer.main(["--run", str(work / "words"), "--to", str(work / "run" / "clinical")])
    moved = Path(shutil.move(work / "run" / "clinical", tmp_path_factory.mktemp("preset")))
    shutil.rmtree(source)
    shutil.rmtree(work / "run")
    return moved


def test_a_trained_preset_holds_all_that_its_scorer_needs(preset: Path) -> None:
    loaded = checkpoint.load(str(preset))
    assert loaded.meta["scorer"]["clip"] == "local-dir:clip"
    origin = json.loads((preset / "clip" / foreign.CONFIG_FILE).read_text())["origin"]
    assert origin["name"].startswith("local-dir:") and len(origin["sha256"]) == 64
    assert not list((preset / "clip").glob("*.safetensors"))
    with torch.no_grad():  # anchors were made by the weights as stored
        assert torch.allclose(loaded.model.anchors(), loaded.anchors, atol=1e-4)


def test_training_starts_from_the_clips_own_weights(preset: Path, model: Scorer) -> None:
    trained, start = checkpoint.load(str(preset)).model.clip.state_dict(), model.clip.state_dict()
    matrices = [key for key, value in start.items() if value.ndim == 2]
    distances = [float((trained[key] - start[key]).norm() / start[key].norm()) for key in matrices]
    assert 0 < max(distances) < 0.1


def test_the_command_line_assesses_and_describes_with_it(preset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["assess", str(example(CT_HEAD)), "--preset", str(preset), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert 0 <= found["score"] <= 4 and len(found["score_distribution"]) == vocab.SCORE_BINS
    assert found["model"]["name"] == "clinical"
    assert isinstance(found["description"], str)
    assert checkpoint.language_folder(str(preset)) == preset  # the words are those of the small Qwen3


def test_a_custom_description_and_a_heat_map_work_with_it(preset: Path) -> None:
    medq = MedQ.load(str(preset))
    sample = io.load(example(CT_HEAD))[0]
    _, encoded = medq._encode(medq.checkpoint, sample, 0, maps=True)
    heat = heat_map(medq.checkpoint.model, encoded, 0, medq.checkpoint.anchors, 0)
    assert 0 <= heat.min() <= heat.max() <= 1
    assert medq.assess_sample(sample, "liver lesion staging").acquisition == "liver lesion staging"


def test_a_changed_file_of_the_towers_is_refused(preset: Path, tmp_path: Path) -> None:
    spoilt = shutil.copytree(preset, tmp_path / "spoilt")
    (spoilt / "clip" / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="corrupt"):
        checkpoint.load(str(spoilt))


def test_the_clinical_preset_says_how_it_is_made(capsys: pytest.CaptureFixture[str]) -> None:
    if (checkpoint.PRESETS / "clinical").exists():
        pytest.skip("somebody has made it here")
    assert cli.main(["assess", str(example(CT_HEAD)), "--preset", "clinical"]) == 5
    said = capsys.readouterr().err
    assert "training.train_quality --clip hf-hub:" in said and "training.train_describer --base" in said
