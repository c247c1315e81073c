"""Our ESM layout against the published implementation, with controls that must fail."""

import copy
from pathlib import Path

import pytest
import torch
from esm_fixtures import (
    HEADS,
    HIDDEN,
    MASK,
    TOKENS,
    masked_batch,
    our_copy,
    our_logits,
    reference_logits,
    reference_model,
    relative_error,
    write_dplm_folder,
)

from didi_core.models import attention
from didi_core.models.esm import EsmDenoiser
from didi_core.models.folder import load_denoiser
from didi_core.models.soft_tokens import SoftTokens

TOLERANCE = 1e-5
DROPOUT = pytest.mark.parametrize("token_dropout", [False, True], ids=["plain", "token_dropout"])
SHARES = pytest.mark.parametrize("share", [0.0, 0.15, 0.6, 1.0])


@DROPOUT
@SHARES
def test_logits(token_dropout: bool, share: float) -> None:
    model = reference_model(token_dropout=token_dropout)
    tokens, lengths = masked_batch(share)
    expected = reference_logits(model, tokens, lengths)
    assert relative_error(our_logits(our_copy(model), tokens, lengths), expected) < TOLERANCE


def test_every_tensor_counts() -> None:
    """Each of our tensors changes the logits: none is left out of the parity test."""
    denoiser = our_copy(reference_model(token_dropout=True))
    tokens, lengths = masked_batch(0.5)
    before = our_logits(denoiser, tokens, lengths)
    for name, parameter in denoiser.named_parameters():
        kept = parameter.detach().clone()
        # The attention's key bias cancels in the softmax, in every network of this kind.
        part = slice(2 * HIDDEN, None) if name.endswith("qkv.bias") else slice(None)
        with torch.no_grad():
            parameter[part] += 0.1 * torch.randn(parameter[part].shape)
        assert relative_error(our_logits(denoiser, tokens, lengths), before) > TOLERANCE, name
        with torch.no_grad():
            parameter.copy_(kept)


def drop_mask(_denoiser: EsmDenoiser, patch: pytest.MonkeyPatch) -> None:
    attend = attention.attend
    patch.setattr(attention, "attend", lambda q, k, v, _keep: attend(q, k, v, None))


def swap_two_heads(denoiser: EsmDenoiser, _patch: pytest.MonkeyPatch) -> None:
    weight = denoiser.blocks[1].qkv.weight.data.view(3, HEADS, HIDDEN // HEADS, HIDDEN)
    weight[:, [0, 1]] = weight[:, [1, 0]].clone()


def exchange_query_and_key(denoiser: EsmDenoiser, _patch: pytest.MonkeyPatch) -> None:
    for tensor in (denoiser.blocks[1].qkv.weight.data, denoiser.blocks[1].qkv.bias.data):
        tensor[: 2 * HIDDEN] = tensor[: 2 * HIDDEN].roll(HIDDEN, dims=0)


def skip_layer(denoiser: EsmDenoiser, _patch: pytest.MonkeyPatch) -> None:
    del denoiser.blocks[1]


def flip_token_dropout(denoiser: EsmDenoiser, _patch: pytest.MonkeyPatch) -> None:
    flipped = not denoiser.settings.token_dropout
    denoiser.settings = type(denoiser.settings)(
        **{**vars(denoiser.settings), "token_dropout": flipped}
    )


CONTROLS = [drop_mask, swap_two_heads, exchange_query_and_key, skip_layer, flip_token_dropout]


@DROPOUT
@pytest.mark.parametrize("damage", CONTROLS, ids=lambda control: control.__name__)
def test_negative_controls(token_dropout: bool, damage, monkeypatch: pytest.MonkeyPatch) -> None:
    model = reference_model(token_dropout=token_dropout)
    tokens, lengths = masked_batch(0.5)
    denoiser = copy.deepcopy(our_copy(model))
    damage(denoiser, monkeypatch)
    expected = reference_logits(model, tokens, lengths)
    assert relative_error(our_logits(denoiser, tokens, lengths), expected) > 100 * TOLERANCE


@DROPOUT
@SHARES
def test_one_hot_inputs_are_ids(token_dropout: bool, share: float) -> None:
    """Every id, mask included, as a one-hot distribution over the same tokens."""
    denoiser = our_copy(reference_model(token_dropout=token_dropout))
    tokens, lengths = masked_batch(share)
    at = torch.arange(tokens.shape[1]) < lengths[:, None]
    one_hot = torch.nn.functional.one_hot(tokens[at], 33).float()
    with torch.no_grad():
        softly = denoiser.logits_at(tokens, lengths, at, SoftTokens(at, one_hot))
    assert relative_error(softly, our_logits(denoiser, tokens, lengths)) < TOLERANCE


def test_soft_positions_count_as_masked() -> None:
    """Known tokens are rescaled as if soft positions were masks; soft ones are too."""
    denoiser = our_copy(reference_model(token_dropout=True))
    tokens, lengths = masked_batch(0.5)
    at = tokens == MASK
    probabilities = torch.rand(int(at.sum()), 33, generator=torch.Generator().manual_seed(3))
    probabilities /= probabilities.sum(-1, keepdim=True)
    with torch.no_grad():
        hard = denoiser.embed(tokens, lengths)
        soft = denoiser.embed(tokens, lengths, SoftTokens(at, probabilities))
    assert torch.equal(hard[~at], soft[~at])
    assert torch.equal(hard[at], torch.zeros_like(hard[at]))
    table = denoiser.embedding.weight.detach().clone()
    table[MASK] = 0
    factor = 0.88 / (1 - at.sum(-1) / lengths)
    expected = (probabilities @ table) * factor.repeat_interleave(at.sum(-1))[:, None]
    assert relative_error(soft[at], expected) < TOLERANCE


@DROPOUT
def test_padding_never_matters(token_dropout: bool) -> None:
    denoiser = our_copy(reference_model(token_dropout=token_dropout))
    tokens, lengths = masked_batch(0.4)
    in_batch = our_logits(denoiser, tokens, lengths)
    wider = torch.nn.functional.pad(tokens, (0, 39), value=1)
    assert relative_error(our_logits(denoiser, wider, lengths), in_batch) < TOLERANCE
    rows = zip(tokens, lengths, strict=True)
    alone = [our_logits(denoiser, row[None, :length], length[None]) for row, length in rows]
    assert relative_error(torch.cat(alone), in_batch) < TOLERANCE


@DROPOUT
def test_folder_of_dplm(tmp_path: Path, token_dropout: bool) -> None:
    model = reference_model(token_dropout=token_dropout)
    folder = write_dplm_folder(tmp_path / "dplm", model)
    loaded = load_denoiser(folder, default_vocabulary=TOKENS)
    assert loaded.vocabulary is TOKENS
    assert loaded.denoiser.settings.token_dropout == token_dropout
    tokens, lengths = masked_batch(0.5)
    expected = reference_logits(model, tokens, lengths)
    assert relative_error(our_logits(loaded.denoiser, tokens, lengths), expected) < TOLERANCE


@DROPOUT
@pytest.mark.parametrize("shard_size", ["1GB", "40KB"], ids=["whole", "sharded"])
def test_folder_of_transformers(tmp_path: Path, token_dropout: bool, shard_size: str) -> None:
    model = reference_model(token_dropout=token_dropout)
    model.save_pretrained(tmp_path, max_shard_size=shard_size)
    assert (tmp_path / "model.safetensors.index.json").exists() == (shard_size == "40KB")
    denoiser = load_denoiser(tmp_path, default_vocabulary=TOKENS).denoiser
    tokens, lengths = masked_batch(0.5)
    expected = reference_logits(model, tokens, lengths)
    assert relative_error(our_logits(denoiser, tokens, lengths), expected) < TOLERANCE
