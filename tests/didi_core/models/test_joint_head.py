"""The joint head: what sees what, exact zeros when new, the order of drawing, and its file."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import FRAMED, randomise, tiny_denoiser
from torch import Tensor

from didi_core.errors import UserError
from didi_core.models.joint_head import JointHead, JointHeadShape, draw_order
from didi_core.models.joint_head_file import head_for, load_joint_head, save_joint_head

CONFIG = {"didi": {"joint_head": True}}


def some_head(rank: int = 0, seed: int = 0) -> JointHead:
    head = JointHead(JointHeadShape(8, 2, 3, rank)).double()
    randomise(head, seed)
    return head.eval()


def inputs(rows: int = 2, drawn: int = 5, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(rows, drawn, 8, generator=generator, dtype=torch.float64)
    rank = torch.randint(3, (rows, drawn), generator=generator)
    position = torch.stack([torch.randperm(40, generator=generator)[:drawn] for _ in range(rows)])
    return hidden, rank, position


def test_a_new_head_corrects_nothing() -> None:
    head = JointHead(JointHeadShape(8, 2, 3))
    head.initialise(seed=5)
    hidden, rank, position = inputs()
    assert not head(hidden.float(), rank, position).any()
    again = JointHead(JointHeadShape(8, 2, 3))
    again.initialise(seed=5)
    pairs = zip(head.parameters(), again.parameters(), strict=True)
    assert all(torch.equal(*pair) for pair in pairs), "its weights are keyed by the seed"


@pytest.mark.parametrize("rank_size", [0, 2])
def test_each_sees_the_tokens_before_it_and_no_other(rank_size: int) -> None:
    head = some_head(rank_size)
    hidden, rank, position = inputs()
    plain = head(hidden, rank, position)
    assert not plain[:, 0].any(), "the first is drawn from the network's own law"
    for changed in range(5):
        other = rank.clone()
        other[:, changed] = (other[:, changed] + 1) % 3
        moved = (head(hidden, other, position) != plain).any(-1)
        assert not moved[:, : changed + 1].any(), "nothing sees itself or what comes later"
        assert moved[:, changed + 1 :].all(), "all later ones see it"


def test_attention_is_that_of_a_null_and_of_what_was_drawn() -> None:
    """Position 2 of the order, by hand: softmax over a score of 0 and two rotated products."""
    head, (hidden, rank, position) = some_head(), inputs(rows=1)
    block = head.blocks[0]
    normed = head.norm(hidden)[0]
    content = head.content(normed) + head.embedding(rank[0])
    asked = head.asked(normed)[2]

    def turned(vector: Tensor, place: int) -> Tensor:
        # Two heads of four channels: (0, 2) and (1, 3) of each are turned by place / 100^(i / 2).
        angle = place * torch.tensor([1.0, 10_000.0**-0.5], dtype=torch.float64)
        x, y = vector.view(2, 2, 2).unbind(1)
        cos, sin = angle.cos(), angle.sin()
        return torch.cat([x * cos - y * sin, y * cos + x * sin], dim=-1)

    places = position[0].tolist()
    query = turned(block.query(asked), places[2])
    keys = [turned(block.key(content[j]), places[j]) for j in (0, 1)]
    values = [block.null_value.view(2, 4)] + [block.value(content[j]).view(2, 4) for j in (0, 1)]
    scores = torch.stack([torch.zeros(2).double()] + [(query * k).sum(-1) / 2 for k in keys])
    attended = (scores.softmax(0)[:, :, None] * torch.stack(values)).sum(0).flatten()
    states = asked + block.attention_out(attended)
    states = states + block.mlp_out(torch.nn.functional.gelu(block.mlp_in(block.mlp_norm(states))))
    expected = head.out(head.out_norm(states))
    torch.testing.assert_close(head(hidden, rank, position)[0, 2], expected, rtol=0, atol=1e-6)


def test_translation_and_fill_change_nothing() -> None:
    head, (hidden, rank, position) = some_head(), inputs()
    plain = head(hidden, rank, position)
    moved = head(hidden, rank, position + 7)
    torch.testing.assert_close(moved, plain, rtol=0, atol=1e-5)
    filled = [torch.cat([each, each[:, :2]], dim=1) for each in (hidden, rank, position)]
    torch.testing.assert_close(head(*filled)[:, :5], plain, rtol=0, atol=1e-12)
    alone = head(hidden[1:], rank[1:], position[1:])
    torch.testing.assert_close(alone[0], plain[1], rtol=0, atol=1e-12)


def test_the_order_of_drawing_by_hand() -> None:
    at = torch.tensor([[False, True, True, False, True], [False, False, False, True, False]])
    order = torch.tensor([[0.1, 0.9, 0.2, 0.0, 0.5], [0.3, 0.3, 0.3, 0.3, 0.3]])
    found = draw_order(at, order)
    assert found.position.tolist() == [[2, 4, 1], [3, 0, 0]]
    assert found.entry.tolist() == [[1, 2, 0], [3, 0, 0]], "places in row-major order"
    assert found.valid.tolist() == [[True] * 3, [True, False, False]]
    assert found.count.tolist() == [3, 1]
    part = found.rows(torch.tensor([1]))
    assert part.entry.tolist() == [[3]] and part.valid.tolist() == [[True]]


@pytest.mark.parametrize("rank", [0, 2])
def test_its_file_keeps_it(rank: int, tmp_path: Path) -> None:
    denoiser, path = tiny_denoiser(), tmp_path / "joint_head.safetensors"
    head = head_for(denoiser, FRAMED.num_generable, rank)
    randomise(head, 3)
    save_joint_head(head, path)
    again = load_joint_head(denoiser, FRAMED.num_generable, path, CONFIG, "it")
    assert again is not None and again.shape == head.shape
    hidden, ranks, position = inputs()
    assert torch.equal(
        again(hidden.float(), ranks, position), head(hidden.float(), ranks, position)
    )
    assert load_joint_head(denoiser, FRAMED.num_generable, None, {}, "it") is None


def test_large_vocabularies_get_a_head_of_low_rank() -> None:
    shape = head_for(tiny_denoiser(), 50_257).shape
    assert 0 < shape.rank < 100 and head_for(tiny_denoiser(), 20).shape.rank == 0


def test_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    denoiser, path = tiny_denoiser(), tmp_path / "joint_head.safetensors"
    head = head_for(denoiser, FRAMED.num_generable)
    randomise(head, 3)
    save_joint_head(head, path)
    tensors = load_file(path)
    bad = {
        "is missing": (None, CONFIG),
        "names none": (path, {}),
        "out.weight": ({**tensors, "out.weight": torch.zeros(2, 8)}, CONFIG),
        "norm.weight": ({k: v for k, v in tensors.items() if k != "norm.weight"}, CONFIG),
        "not finite": ({**tensors, "norm.weight": torch.full((8,), torch.nan)}, CONFIG),
    }
    for message, (given, config) in bad.items():
        if isinstance(given, dict):
            save_file(given, path)
        chosen = None if given is None else path
        with pytest.raises(UserError, match=message):
            load_joint_head(denoiser, FRAMED.num_generable, chosen, config, "it")
