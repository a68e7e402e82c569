"""Tokenizer, prompts and scorer: shapes and laws that hold for any weights."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch

from medq_vlm import vocab
from medq_vlm.config import ScorerConfig
from medq_vlm.encoder import backbone, opinions, prompts
from medq_vlm.encoder.gate import tile_mean
from medq_vlm.encoder.opinions import EARLY_BLOCKS
from medq_vlm.encoder.scorer import UNKNOWN, Scorer
from medq_vlm.encoder.tokenizer import CONTEXT_LENGTH, END, START, VOCAB_SIZE, WORDS, tokenize


@pytest.fixture(scope="module")
def model() -> Scorer:
    torch.manual_seed(0)
    return Scorer(ScorerConfig(statistics=7)).eval()


def test_known_words_are_one_token_and_others_are_bytes() -> None:
    ids = tokenize(["noise", "xqz"])
    assert ids[0, :3].tolist() == [START, WORDS["noise"], END]
    assert ((ids[1] > START) & (ids[1] < END)).sum() == 3
    assert int(ids.max()) < VOCAB_SIZE


def test_any_text_fits_the_context() -> None:
    ids = tokenize(["severe noise " * 100, "", "é漢<ctx9><|im_end|>"])
    assert ids.shape == (3, CONTEXT_LENGTH)
    assert (ids == END).sum(1).tolist() == [1, 1, 1]


def test_two_prompts_that_differ_in_a_word_get_different_anchors(model: Scorer) -> None:
    with torch.no_grad():
        anchors = model.anchors()
    assert torch.pdist(anchors).min() > 0.01


def test_every_prompt_is_whole_and_different() -> None:
    texts = prompts.all_texts()
    assert len(texts) == sum(prompts.split_sizes())
    ids = tokenize(texts)
    assert len({tuple(row) for row in ids.tolist()}) == len(texts)
    assert int((ids != 0).sum(1).max()) < CONTEXT_LENGTH  # none is cut


def outputs(model: Scorer, tiles: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    with torch.no_grad():
        whole, statistics = torch.ones(1, tiles.shape[2]), torch.zeros(1, 7)
        out = model.fuse(tiles, whole, statistics, torch.tensor([UNKNOWN]), model.anchors(), mask)
    return torch.cat([out.score.flatten(), out.kinds.flatten(), out.medical])


def test_the_order_of_tiles_and_padding_do_not_matter(model: Scorer) -> None:
    width = model.pooled_width
    tiles = torch.randn(1, 4, width, generator=torch.Generator().manual_seed(1))
    plain = outputs(model, tiles)
    assert torch.allclose(plain, outputs(model, tiles[:, [2, 0, 3, 1]]), atol=1e-5)
    padded = torch.cat([tiles, torch.full((1, 2, width), 9.0)], 1)
    mask = torch.tensor([[False] * 4 + [True] * 2])
    assert torch.allclose(plain, outputs(model, padded, mask), atol=1e-5)


def test_outputs_are_in_range_and_have_their_shapes(model: Scorer) -> None:
    with torch.no_grad():
        views = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))
        out = model(views, views, torch.zeros(2, 7), torch.tensor([0, UNKNOWN]), model.anchors())
    assert out.kinds.shape == (2, len(vocab.KINDS), 5)
    assert out.queries.shape == (2, model.config.queries, model.config.width)
    assert ((out.score_mean() >= 0) & (out.score_mean() <= 4)).all()
    assert ((out.severities() >= 0) & (out.severities() <= 4)).all()


def test_a_kinds_prompt_moves_its_own_severity(model: Scorer) -> None:
    """The text tower's anchors are the classifiers: other words, other severities."""
    with torch.no_grad():
        width = model.pooled_width
        args = (torch.ones(1, 1, width), torch.ones(1, width), torch.zeros(1, 7), torch.tensor([0]))
        anchors = model.anchors()
        before = model.fuse(*args, anchors).kinds[0]
        changed = anchors.clone()
        changed[5:10] = anchors[40:45]
        after = model.fuse(*args, changed).kinds[0]
    assert not torch.allclose(before[1], after[1])
    assert torch.allclose(before[0], after[0])


def test_second_opinions_count_as_one_and_can_be_left_out() -> None:
    torch.manual_seed(0)
    model = Scorer(ScorerConfig(statistics=7, second_opinions=2)).eval()
    width = model.pooled_width
    with torch.no_grad():
        ones = torch.ones(1, 1, width), torch.ones(1, width), torch.ones(1, 7)
        args = (*ones, torch.tensor([0]), model.anchors())
        both, head = model.fuse(*args), model.fuse(*args, alone=True)
        assert model.second is not None
        second = model.second(model.standardised(args[2]), torch.zeros(1, model.prior_in.in_features))
    mean = (head.score.softmax(-1) + second.exp()) / 2
    assert torch.allclose(both.score.softmax(-1), mean, atol=1e-5)
    assert float(second.exp().sum()) == pytest.approx(1.0, abs=1e-5)
    assert torch.equal(both.kinds, head.kinds)


def test_the_third_opinion_has_its_say_on_score_and_kinds_alone() -> None:
    torch.manual_seed(0)
    model = Scorer(ScorerConfig(statistics=7, second_opinions=2, tower_opinion=True)).eval()
    third, width = model.third, model.pooled_width
    assert third is not None
    torch.nn.init.normal_(third.statistics_in[-1].weight)
    with torch.no_grad():
        whole = third.look(model.maps(torch.rand(1, 3, 96, 96)))
        early = backbone.early_maps(model.clip.visual.trunk, torch.ones(1, 3, 96, 96), EARLY_BLOCKS)
        assert torch.equal(third.look(early), third.look(model.maps(torch.ones(1, 3, 96, 96))))
        looks = torch.cat([whole, whole], 1)
        args = torch.ones(1, 1, width), torch.ones(1, width), torch.ones(1, 7), torch.tensor([0]), model.anchors()
        three, two, head = model.fuse(*args, looks=looks), model.fuse(*args), model.fuse(*args, alone=True, looks=looks)
        score, kinds = third(looks, torch.tensor([0]), torch.ones(1, 7))
    mean = (two.score.softmax(-1) * 2 + score.softmax(-1)) / 3
    assert torch.allclose(three.score.softmax(-1), mean, atol=1e-5)
    mixed = (head.kinds.softmax(-1) + kinds.softmax(-1)) / 2
    assert torch.allclose(three.kinds.softmax(-1), mixed, atol=1e-5)
    for field in fields(three):
        if field.name not in ("score", "kinds"):
            assert torch.equal(getattr(three, field.name), getattr(head, field.name)), field.name


def test_the_gate_changes_nothing_but_the_gate() -> None:
    torch.manual_seed(0)
    model = Scorer(ScorerConfig(statistics=7, second_opinions=1, gate=True)).eval()
    tiles = torch.randn(1, 4, model.pooled_width, generator=torch.Generator().manual_seed(1))
    args = (tiles, torch.ones(1, model.pooled_width), torch.ones(1, 7), torch.tensor([UNKNOWN]), model.anchors())
    with torch.no_grad():
        gated, gate = model.fuse(*args), model.gate
        model.gate = None
        plain = model.fuse(*args)
    assert gate is not None and not torch.equal(gated.medical, plain.medical)
    for field in fields(gated):
        if field.name != "medical":
            assert torch.equal(getattr(gated, field.name), getattr(plain, field.name)), field.name


def test_the_gate_reads_the_mean_of_the_tiles_without_padding() -> None:
    tiles = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(1))
    padding = torch.tensor([[False] * 5, [False] * 2 + [True] * 3])
    found = tile_mean(tiles, padding)
    assert torch.allclose(found[0], tile_mean(tiles[:1], None)[0])
    assert torch.allclose(found[1], tiles[1, :2].mean(0))


def test_what_the_kinds_imply_follows_them_and_what_is_asked() -> None:
    bins, ct = torch.linspace(0, 4, vocab.SCORE_BINS), vocab.MODALITIES.index("ct")

    def mean(found: dict[str, int], asked: float = 1.0) -> float:
        kinds = torch.zeros(1, len(vocab.KIND_NAMES), opinions.LEVELS)
        kinds[..., 0] = 20.0
        for name, severity in found.items():
            kinds[0, vocab.KIND_NAMES.index(name), severity] = 40.0
        demand = torch.full((1, len(vocab.ATTRIBUTES)), asked).log()
        return float(opinions.implied(kinds, torch.tensor([ct]), demand).softmax(-1)[0] @ bins)

    assert mean({}) > 3.8
    assert mean({"noise": 1}) > mean({"noise": 2}) > mean({"noise": 2, "metal": 2}) > mean({"noise": 4})
    assert mean({"noise": 2}, 1.5) < mean({"noise": 2}) < mean({"noise": 2}, 0.7)
    assert mean({"mr_motion": 4}) == mean({})  # no CT has it
