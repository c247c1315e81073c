"""The discriminator: published tensor names, storage, what trains, padding; samplers by name."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import FRAMED, MASK, framed_batch, randomise, tiny_denoiser

from didi_core.errors import UserError
from didi_core.models.discriminator import (
    Discriminator,
    load_discriminator,
    save_discriminator,
    soft_tokens,
)
from didi_core.models.folder import LoadedModel
from didi_core.models.soft_tokens import SoftTokens
from didi_core.sampling.ancestral import ancestral
from didi_core.sampling.dplm import DplmSampler
from didi_core.sampling.predictor import Predictor
from didi_core.sampling.registry import check_settings, find_sampler
from didi_core.sampling.request import SampleSettings
from didi_core.sampling.rgas import GuidedSampler
from didi_core.sampling.sampler_spec import SamplerSpec, without_settings


def trained_discriminator() -> Discriminator:
    discriminator = Discriminator(tiny_denoiser(seed=1, num_layers=2))
    randomise(discriminator, seed=2)
    batch = framed_batch([3, MASK, 5])
    discriminator.logits_at(batch.tokens, batch.lengths, batch.maskable)  # moves u and v
    return discriminator


def test_published_names_and_storage(tmp_path: Path) -> None:
    discriminator, path = trained_discriminator(), tmp_path / "discriminator.safetensors"
    save_discriminator(discriminator, path)
    head = {name for name in load_file(path) if name.startswith("output_layer")}
    parts = ("weight_orig", "weight_u", "weight_v", "bias")
    assert head == {f"output_layer.main.{i}.{part}" for i in (0, 2) for part in parts}
    assert not any("head_" in name for name in load_file(path)), "the vocabulary head is gone"

    loaded = load_discriminator(tiny_denoiser(seed=9, num_layers=2), path)
    batch = framed_batch([MASK, 4, MASK], [3, 5])
    with torch.no_grad():
        expected = discriminator.eval().logits_at(batch.tokens, batch.lengths, batch.maskable)
        found = loaded.logits_at(batch.tokens, batch.lengths, batch.maskable)
    assert torch.equal(found, expected)
    assert not any(p.requires_grad for p in loaded.parameters())


def test_weights_are_divided_by_their_largest_singular_value() -> None:
    discriminator = trained_discriminator()
    for _ in range(200):  # each call in training mode is one power iteration
        discriminator.output_layer(torch.ones(1, 8))
    for layer in (discriminator.output_layer.main[0], discriminator.output_layer.main[2]):
        largest = torch.linalg.matrix_norm(layer.weight_orig.detach(), ord=2)
        torch.testing.assert_close(layer.weight.detach(), layer.weight_orig.detach() / largest)


@pytest.mark.parametrize("count", [0, 1, 2, 4])
def test_what_trains(count: int) -> None:
    discriminator = Discriminator(tiny_denoiser(num_layers=3))
    discriminator.train_last_blocks(count)
    trained = {name for name, p in discriminator.named_parameters() if p.requires_grad}
    last = tuple(f"trunk.blocks.{i}." for i in range(max(0, 3 - count), 3))
    expected = {
        name
        for name, _ in discriminator.named_parameters()
        if name.startswith(("output_layer", "trunk.final_norm", *last))
    }
    assert trained == expected


def test_padding_does_not_matter_and_soft_tokens_agree_with_hard_ones() -> None:
    discriminator = trained_discriminator().eval()
    rows = [[3, 4, 5, MASK, 3, 4], [5, MASK]]
    batch = framed_batch(*rows)
    with torch.no_grad():
        together = discriminator.logits_at(batch.tokens, batch.lengths, batch.maskable)
        alone = []
        for row in rows:
            tokens = torch.tensor([FRAMED.frame(row)])
            inside = torch.tensor([[False, *[True] * len(row), False]])
            alone.append(discriminator.logits_at(tokens, torch.tensor([len(row) + 2]), inside))
        torch.testing.assert_close(together, torch.cat(alone))
        # One-hot distributions in place of the ids.
        soft = soft_tokens(
            torch.eye(3).log()[FRAMED.rank_of_id[batch.tokens[batch.tokens > 2].clamp_max(5)]],
            batch.tokens > 2,
            FRAMED.generable,
            FRAMED.size,
        )
        hard = batch.tokens.clamp_max(5)
        torch.testing.assert_close(
            discriminator.logits_at(batch.tokens, batch.lengths, batch.maskable, soft),
            discriminator.logits_at(hard, batch.lengths, batch.maskable),
        )
    assert isinstance(soft, SoftTokens)


def test_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "discriminator.safetensors"
    layout = tiny_denoiser(seed=1, num_layers=2)
    save_discriminator(trained_discriminator(), path)
    with pytest.raises(UserError, match=r"does not fit its model: .*blocks\.1"):
        load_discriminator(tiny_denoiser(num_layers=1), path)
    with pytest.raises(UserError, match="does not fit its model"):
        load_discriminator(tiny_denoiser(num_layers=2, width=16), path)
    tensors = load_file(path)
    tensors["output_layer.main.0.bias"][1] = torch.nan
    save_file(tensors, path)
    with pytest.raises(UserError, match=r"not finite: output_layer\.main\.0\.bias"):
        load_discriminator(layout, path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match="damaged"):
        load_discriminator(layout, path)


def model_beside(folder: Path) -> LoadedModel:
    found = {p.stem: p for p in folder.glob("discriminator.safetensors")}
    layout = tiny_denoiser(seed=1, num_layers=2)
    return LoadedModel(layout, FRAMED, {}, "my-student", folder, found)


def test_rgas_opens_the_discriminator_of_the_folder(tmp_path: Path) -> None:
    kind, model = find_sampler("rgas"), model_beside(tmp_path)
    predictor = Predictor(model.denoiser, FRAMED)
    with pytest.raises(UserError, match=r"--sampler rgas needs .*method=didi.* my-student"):
        kind.build(predictor, model, {})
    other = SamplerSpec(
        "mine",
        without_settings(ancestral),
        summary="as ancestral",
        calls="the steps",
        exact="no",
        needs=("discriminator", "noise"),
    )
    told = r"mine needs .* has no discriminator\.safetensors and no noise\.safetensors\. Give"
    with pytest.raises(UserError, match=told):
        other.build(predictor, model, {})
    save_discriminator(trained_discriminator(), tmp_path / "discriminator.safetensors")
    model = model_beside(tmp_path)
    sampler = kind.build(predictor, model, {"num_candidates": 2})
    assert isinstance(sampler, GuidedSampler) and sampler.guidance.num_candidates == 2
    stored = load_file(tmp_path / "discriminator.safetensors")
    assert torch.equal(
        sampler.discriminator.output_layer.main[0].bias, stored["output_layer.main.0.bias"]
    )
    with pytest.raises(UserError, match=r"sampler rgas has no option candidates; it has .*tilt"):
        kind.build(predictor, model, {"candidates": 2})
    with pytest.raises(UserError, match="--steps is missing"):
        check_settings(kind, SampleSettings(steps=None))


def test_dplm_makes_500_steps_unless_told(tmp_path: Path) -> None:
    kind, model = find_sampler("dplm"), model_beside(tmp_path)
    assert kind.default_steps == 500
    sampler = kind.build(Predictor(model.denoiser, FRAMED), model, {"max_share": 0.5})
    assert isinstance(sampler, DplmSampler) and sampler.repeats.max_share == 0.5
    assert sampler.repeats.redraw_top_p == 0.95
    with pytest.raises(UserError, match="--grid published"):
        check_settings(kind, SampleSettings(steps=5, grid="published"))
