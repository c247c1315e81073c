"""Our DiT against the published layout: written out plainly, and as numbers of the public code."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from dit_fixtures import (
    HEADS,
    HIDDEN,
    MASK,
    SETTINGS,
    VOCABULARY,
    discriminator_shapes,
    draw,
    plain_logits,
    published_shapes,
    published_weights,
    real_logits,
    relative_error,
    tiny_dit,
    token_rows,
)
from safetensors.torch import save_file

from didi_core.errors import UserError
from didi_core.models import attention, dit
from didi_core.models.adaln import LOWEST_TRAINED_ALPHA
from didi_core.models.discriminator import load_discriminator
from didi_core.models.dit import DitDenoiser
from didi_core.models.dit_names import published_order
from didi_core.models.soft_tokens import SoftTokens

TOLERANCE = 1e-5
TIMED = replace(SETTINGS, time_conditioned=True)
ALPHA = torch.tensor([1.0, 0.5, 0.01, 0.9])
NUMBERS = json.loads((Path(__file__).parent / "published_dit_numbers.json").read_text())
"""What the public code gives for the fixture's weights; the file names code and commit."""


def test_logits() -> None:
    tokens, lengths = token_rows()
    expected = plain_logits(published_weights(), tokens, lengths, [0.0] * 4)
    assert relative_error(real_logits(tiny_dit(), tokens, lengths), expected) < TOLERANCE


def test_logits_with_the_time_of_each_row() -> None:
    tokens, lengths = token_rows()
    expected = plain_logits(published_weights(), tokens, lengths, (-ALPHA.log()).tolist())
    found = real_logits(tiny_dit(settings=TIMED), tokens, lengths, ALPHA)
    assert relative_error(found, expected) < TOLERANCE
    other_row = real_logits(tiny_dit(settings=TIMED), tokens, lengths, ALPHA.flip(0))
    assert relative_error(other_row, expected) > 100 * TOLERANCE


@pytest.mark.parametrize("which", ["logits_sigma_zero", "logits_sigma"])
def test_numbers_of_the_public_code(which: str) -> None:
    tokens = torch.tensor(NUMBERS["tokens"]).view(2, 7)
    alpha = None if which == "logits_sigma_zero" else torch.exp(-torch.tensor(NUMBERS["sigma"]))
    network = tiny_dit(3, SETTINGS if alpha is None else TIMED)
    found = real_logits(network, tokens, torch.tensor([7, 7]), alpha)
    expected = torch.tensor(NUMBERS[which]).view(-1, VOCABULARY)
    assert relative_error(found, expected) < TOLERANCE
    expected = expected.roll(1, dims=0)
    assert relative_error(found, expected) > 100 * TOLERANCE


def test_numbers_of_the_public_discriminator(tmp_path: Path) -> None:
    """`DiscriminatorHead` on the blocks' output, without the final norm, by the released names."""
    path = tmp_path / "discriminator.safetensors"
    save_file(draw(discriminator_shapes(), 5), path)
    discriminator = load_discriminator(tiny_dit(), path)
    tokens, lengths = torch.tensor(NUMBERS["tokens"]).view(2, 7), torch.tensor([7, 7])
    at = torch.ones_like(tokens).bool()
    expected = torch.tensor(NUMBERS["discriminator_logits"])
    with torch.no_grad():
        found = discriminator.logits_at(tokens, lengths, at)
        assert relative_error(found, expected) < TOLERANCE
        discriminator.trunk.blocks[2].mlp_out.bias += 0.1
        damaged = discriminator.logits_at(tokens, lengths, at)
    assert relative_error(damaged, expected) > 100 * TOLERANCE


def test_parameters_are_listed_in_the_published_order() -> None:
    assert published_order(3) == list(published_shapes())


def test_every_tensor_counts() -> None:
    """Each of our tensors changes the logits: none is left out of the parity tests."""
    denoiser = tiny_dit(settings=TIMED)
    tokens, lengths = token_rows()
    before = real_logits(denoiser, tokens, lengths, ALPHA)
    for name, parameter in denoiser.named_parameters():
        kept = parameter.detach().clone()
        with torch.no_grad():
            parameter += 0.1 * torch.randn(parameter.shape)
            after = real_logits(denoiser, tokens, lengths, ALPHA)
            assert relative_error(after, before) > TOLERANCE, name
            parameter.copy_(kept)


def drop_mask(_denoiser: DitDenoiser, patch: pytest.MonkeyPatch) -> None:
    attend = attention.attend
    patch.setattr(attention, "attend", lambda q, k, v, _keep: attend(q, k, v, None))


def swap_two_heads(denoiser: DitDenoiser, _patch: pytest.MonkeyPatch) -> None:
    weight = denoiser.blocks[1].qkv.weight.data.view(3, HEADS, HIDDEN // HEADS, HIDDEN)
    weight[:, [0, 1]] = weight[:, [1, 0]].clone()


def exchange_query_and_key(denoiser: DitDenoiser, _patch: pytest.MonkeyPatch) -> None:
    weight = denoiser.blocks[1].qkv.weight.data
    weight[: 2 * HIDDEN] = weight[: 2 * HIDDEN].roll(HIDDEN, dims=0)


def skip_layer(denoiser: DitDenoiser, _patch: pytest.MonkeyPatch) -> None:
    del denoiser.blocks[1]


def drop_modulation(_denoiser: DitDenoiser, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(dit, "modulate", lambda hidden, _shift, _scale: hidden)


def exchange_shift_and_scale(_denoiser: DitDenoiser, patch: pytest.MonkeyPatch) -> None:
    modulate = dit.modulate
    patch.setattr(dit, "modulate", lambda hidden, shift, scale: modulate(hidden, scale, shift))


def drop_rotation(_denoiser: DitDenoiser, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(attention, "rotate", lambda states, _cosine, _sine: states)


def exact_gelu(_denoiser: DitDenoiser, patch: pytest.MonkeyPatch) -> None:
    gelu = torch.nn.functional.gelu
    patch.setattr(dit.F, "gelu", lambda hidden, **_: gelu(hidden))


CONTROLS = [
    drop_mask,
    swap_two_heads,
    exchange_query_and_key,
    skip_layer,
    drop_modulation,
    exchange_shift_and_scale,
    drop_rotation,
]


@pytest.mark.parametrize("damage", CONTROLS, ids=lambda control: control.__name__)
def test_negative_controls(damage, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens, lengths = token_rows()
    expected = plain_logits(published_weights(), tokens, lengths, [0.0] * 4)
    denoiser = tiny_dit()
    damage(denoiser, monkeypatch)
    assert relative_error(real_logits(denoiser, tokens, lengths), expected) > 100 * TOLERANCE


def test_the_other_gelu_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """It differs by 1e-3 at most, so its control is the tolerance itself."""
    tokens, lengths = token_rows()
    expected = plain_logits(published_weights(), tokens, lengths, [0.0] * 4)
    exact_gelu(tiny_dit(), monkeypatch)
    assert relative_error(real_logits(tiny_dit(), tokens, lengths), expected) > 2 * TOLERANCE


def test_one_hot_inputs_are_ids() -> None:
    """Every id, mask included, as a one-hot distribution over the same tokens."""
    denoiser = tiny_dit()
    tokens, lengths = token_rows()
    at = torch.arange(tokens.shape[1]) < lengths[:, None]
    one_hot = torch.nn.functional.one_hot(tokens[at], VOCABULARY).float()
    hidden_ids = tokens.masked_fill(at, MASK)
    with torch.no_grad():
        softly = denoiser.logits_at(hidden_ids, lengths, at, SoftTokens(at, one_hot))
    assert relative_error(softly, real_logits(denoiser, tokens, lengths)) < TOLERANCE


def test_noise_is_added_at_the_embedding_of_real_positions() -> None:
    denoiser = tiny_dit()
    tokens, lengths = token_rows()
    noise = torch.randn(*tokens.shape, HIDDEN, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        plain = denoiser.embed(tokens, lengths)
        noised = denoiser.embed(tokens, lengths, noise=noise)
    real = (torch.arange(tokens.shape[1]) < lengths[:, None]).unsqueeze(-1)
    torch.testing.assert_close(noised, plain + noise * real)
    assert not plain[~real.squeeze(-1)].any()


def test_a_network_conditioned_on_time_must_be_told_it() -> None:
    tokens, lengths = token_rows()
    with pytest.raises(UserError, match="conditioned on time"):
        real_logits(tiny_dit(settings=TIMED), tokens, lengths)
    plain = real_logits(tiny_dit(), tokens, lengths)
    assert torch.equal(real_logits(tiny_dit(), tokens, lengths, ALPHA), plain), "MDLM's does not"
    noise_only = real_logits(tiny_dit(settings=TIMED), tokens, lengths, torch.zeros(4))
    lowest = torch.full((4,), LOWEST_TRAINED_ALPHA)
    assert torch.equal(noise_only, real_logits(tiny_dit(settings=TIMED), tokens, lengths, lowest))
