"""DSM's and FastPLMs' folders, their names exact and every tensor random: layout, not weights.

The trunk is held against transformers' `EsmForMaskedLM`. DSM's head differs from ESM-2's (a cap,
and a bias of another name) and is computed by hand; FastPLMs' copies of ESM-2 and DPLM are
transformers' with an output matrix apart from the embedding.
"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from esm_fixtures import (
    HIDDEN,
    TOKENS,
    dsm_logits,
    dsm_weights,
    masked_batch,
    our_logits,
    published_config,
    published_weights,
    reference_logits,
    reference_model,
    relative_error,
    write_dplm_copy,
    write_dsm_folder,
    write_fast_esm_folder,
    write_folder,
)
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoModelForMaskedLM

from didi_core.data.vocabulary import Vocabulary
from didi_core.errors import UserError
from didi_core.models.esm import EsmDenoiser
from didi_core.models.folder import load_denoiser, save_model_folder

TOLERANCE = 1e-5
TOKENS_AND_LENGTHS = masked_batch(0.6)
SHORT = Vocabulary(tokens=TOKENS.tokens[:-1], mask_id=31, pad_id=1, generable_ids=(4, 5))


def dsm_reference(*, tied: bool = False) -> Tensor:
    """DSM's logits: the trunk of transformers without token dropout, and the head by hand."""
    model = reference_model(token_dropout=False)
    weights = dsm_weights(model, tied=tied)
    model.lm_head = nn.Identity()
    return dsm_logits(reference_logits(model, *TOKENS_AND_LENGTHS), weights)


def fast_esm_reference() -> Tensor:
    model = reference_model(token_dropout=True)
    weights = published_weights(model)
    model.lm_head.decoder.weight = nn.Parameter(weights["lm_head.decoder.weight"])
    return reference_logits(model, *TOKENS_AND_LENGTHS)


def opened(folder: Path) -> EsmDenoiser:
    denoiser = load_denoiser(folder, default_vocabulary=TOKENS).denoiser
    assert isinstance(denoiser, EsmDenoiser)
    return denoiser


def error(denoiser: EsmDenoiser, expected: Tensor) -> float:
    return relative_error(our_logits(denoiser, *TOKENS_AND_LENGTHS), expected)


def change_settings(denoiser: EsmDenoiser, **changes: object) -> None:
    denoiser.settings = type(denoiser.settings)(**{**vars(denoiser.settings), **changes})


@pytest.mark.parametrize("tied", [False, True], ids=["own output matrix", "tied"])
def test_dsm_is_the_trunk_of_esm2_under_its_own_head(tmp_path: Path, tied: bool) -> None:
    model = reference_model(token_dropout=False)
    expected = dsm_reference(tied=tied)
    assert expected.abs().max() > 10  # the cap is felt
    denoiser = opened(write_dsm_folder(tmp_path / "m", model, tied=tied))
    assert error(denoiser, expected) < TOLERANCE
    assert denoiser.settings.own_output_matrix is not tied
    change_settings(denoiser, token_dropout=True)  # as its config says, and its code does not
    assert error(denoiser, expected) > 100 * TOLERANCE
    change_settings(denoiser, token_dropout=False, logit_cap=None)
    assert error(denoiser, expected) > 100 * TOLERANCE


@pytest.mark.parametrize("write", [write_fast_esm_folder, write_dplm_copy])
def test_a_copy_of_fastplms_is_the_librarys_untied(tmp_path: Path, write) -> None:
    expected = fast_esm_reference()
    denoiser = opened(write(tmp_path / "m", reference_model(token_dropout=True)))
    assert error(denoiser, expected) < TOLERANCE
    for name, parameter in denoiser.named_parameters():
        if not name.startswith(("head", "output")):
            continue
        kept = parameter.detach().clone()
        with torch.no_grad():
            parameter.add_(0.1 * torch.randn(parameter.shape))
        assert error(denoiser, expected) > TOLERANCE, name
        with torch.no_grad():
            parameter.copy_(kept)
    denoiser.output_matrix = None  # tied after all
    assert error(denoiser, expected) > 100 * TOLERANCE


def test_a_matrix_equal_to_the_embedding_may_be_stored_or_not(tmp_path: Path) -> None:
    """An early FastPLMs config does not speak of tying: as in the library, that means tied."""
    model = reference_model(token_dropout=True)
    weights = published_weights(model)
    weights["lm_head.decoder.weight"] = weights["esm.embeddings.word_embeddings.weight"].clone()
    config = published_config(architectures=["FastEsmForMaskedLM"], model_type="fast_esm")
    del config["tie_word_embeddings"]
    expected = reference_logits(model, *TOKENS_AND_LENGTHS)
    assert error(opened(write_folder(tmp_path / "stored", config, weights)), expected) < TOLERANCE
    del weights["lm_head.decoder.weight"]
    assert error(opened(write_folder(tmp_path / "left", config, weights)), expected) < TOLERANCE


@pytest.mark.parametrize("write", [write_dsm_folder, write_fast_esm_folder])
def test_what_is_made_of_it_is_written_as_it_answers(tmp_path: Path, write) -> None:
    """FastPLMs' opens in transformers; DSM's keeps its type, which transformers refuses."""
    denoiser = opened(write(tmp_path / "read", reference_model(token_dropout=True)))
    answer = our_logits(denoiser, *TOKENS_AND_LENGTHS)
    save_model_folder(tmp_path / "written", denoiser, TOKENS, card="")
    again = opened(tmp_path / "written")
    assert again.settings == denoiser.settings
    assert torch.equal(our_logits(again, *TOKENS_AND_LENGTHS), answer)
    if write is write_dsm_folder:
        assert "lm_head.decoder.bias" in load_file(tmp_path / "written" / "model.safetensors")
        with pytest.raises((ValueError, KeyError), match="esm_diff"):
            AutoModelForMaskedLM.from_pretrained(tmp_path / "written")
    else:
        model = AutoModelForMaskedLM.from_pretrained(tmp_path / "written").eval()
        found = reference_logits(model, *TOKENS_AND_LENGTHS)
        assert relative_error(found, answer) < TOLERANCE


def lose_the_bias(_config: dict, weights: dict) -> None:
    del weights["lm_head.decoder.bias"]


def gain_a_prompt(_config: dict, weights: dict) -> None:
    weights["at_embedding.weight"] = torch.zeros(5, HIDDEN)


def have_two_sequences(config: dict, _weights: dict) -> None:
    config["architectures"] = ["DSM_Binders"]


def have_an_adapter(config: dict, _weights: dict) -> None:
    config["lora"] = True


def have_another_constant(config: dict, _weights: dict) -> None:
    config["layer_norm_eps"] = 1e-12


def be_esmc(config: dict, _weights: dict) -> None:
    config["model_type"] = "ESMplusplus"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lose_the_bias, r"missing: lm_head\.decoder\.bias\."),
        (gain_a_prompt, r"unexpected: at_embedding\.weight\."),
        (have_two_sequences, "DSM_Binders"),
        (have_an_adapter, "lora is True"),
        (have_another_constant, "layer_norm_eps is 1e-12"),
        (be_esmc, "ESMplusplus"),
    ],
)
def test_another_dsm_is_refused(
    tmp_path: Path, change: Callable[[dict, dict], None], message: str
) -> None:
    folder = write_dsm_folder(tmp_path / "whole", reference_model(token_dropout=False))
    config = json.loads((folder / "config.json").read_text())
    weights = load_file(folder / "model.safetensors")
    change(config, weights)
    with pytest.raises(UserError, match=message):
        opened(write_folder(tmp_path / "changed", config, weights))


def test_another_vocabulary_or_no_output_matrix_is_refused(tmp_path: Path) -> None:
    model = reference_model(token_dropout=True)
    folder = write_fast_esm_folder(tmp_path / "m", model)
    with pytest.raises(UserError, match=r"vocab_size in config\.json is 33, not 32; mask_token_id"):
        load_denoiser(folder, default_vocabulary=SHORT)
    weights = published_weights(model)
    del weights["lm_head.decoder.weight"]
    config = json.loads((folder / "config.json").read_text())
    with pytest.raises(UserError, match=r"missing: lm_head\.decoder\.weight\."):
        opened(write_folder(tmp_path / "without", config, weights))
