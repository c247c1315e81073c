"""Kinds of published networks: each read as what it is, with its logits, or refused by name."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from dit_fixtures import SETTINGS, VOCABULARY, WORDS, published_weights, real_logits, relative_error
from published_folders import (
    ALGORITHMS,
    SDTT_CONFIG,
    TRAINING_CONFIG,
    algorithm_config,
    duo_folder,
    mdlm_folder,
    sdtt_folder,
    training_content,
    write_checkpoint,
    write_config,
)
from safetensors.torch import save_file
from torch import Tensor

from didi_core.diffusion.process import build_process
from didi_core.errors import UserError
from didi_core.models.folder import LoadedModel, load_denoiser

TOLERANCE = 1e-5
NUMBERS = json.loads((Path(__file__).parent / "published_dit_numbers.json").read_text())
"""What the public code gives for the fixture's weights; the file names code and commit."""
ALPHA = torch.exp(-torch.tensor(NUMBERS["sigma"]))


def opened(path: Path) -> LoadedModel:
    return load_denoiser(path, default_vocabulary=WORDS)


def logits_of(model: LoadedModel, alpha: Tensor | None = None) -> Tensor:
    tokens = torch.tensor(NUMBERS["tokens"]).view(2, 7)
    return real_logits(model.denoiser, tokens, torch.tensor([7, 7]), alpha)


def error(found: Tensor, which: str) -> float:
    return relative_error(found, torch.tensor(NUMBERS[which]).view(-1, VOCABULARY))


# Duo.


def test_duo_folder_gives_the_published_logits(tmp_path: Path) -> None:
    """At the alpha of each row; at another alpha, and read as MDLM, it does not."""
    model = opened(duo_folder(tmp_path / "duo", published_weights(3)))
    assert error(logits_of(model, ALPHA), "logits_sigma") < TOLERANCE
    assert error(logits_of(model, ALPHA.flip(0)), "logits_sigma") > 100 * TOLERANCE
    as_mdlm = opened(mdlm_folder(tmp_path / "mdlm", published_weights(3)))
    assert error(logits_of(as_mdlm, ALPHA), "logits_sigma") > 100 * TOLERANCE
    assert error(logits_of(as_mdlm, ALPHA), "logits_sigma_zero") < TOLERANCE
    assert (model.process, as_mdlm.process) == ("uniform", "absorbing")
    assert model.denoiser.settings == replace(SETTINGS, time_conditioned=True)


@pytest.mark.parametrize("name", ["duo_base", "duo", "distillation"])
def test_duo_checkpoint_gives_the_published_logits(tmp_path: Path, name: str) -> None:
    content = training_content(ema_seed=3, config=algorithm_config(name))
    model = opened(write_checkpoint(tmp_path / "last.ckpt", content))
    assert error(logits_of(model, ALPHA), "logits_sigma") < TOLERANCE
    assert error(logits_of(model, ALPHA.flip(0)), "logits_sigma") > 100 * TOLERANCE
    assert model.process == "uniform"


# SEDD.


@pytest.mark.parametrize("code_base", ["duo", "mdlm"])
def test_sedd_checkpoint_gives_the_published_scores(tmp_path: Path, code_base: str) -> None:
    """log s(j) = logits(j) - log(e^sigma - 1) - log(V - 1), V with the mask (its `algo.py`)."""
    said = {"parameterization": "sedd", "diffusion": "absorbing_state", "time_conditioning": True}
    config = algorithm_config("sedd") if code_base == "duo" else {**OLDER, **said}
    model = opened(
        write_checkpoint(tmp_path / "sedd.ckpt", training_content(ema_seed=3, config=config))
    )
    assert model.process == "sedd" and model.denoiser.settings.time_conditioned
    logits = logits_of(model, ALPHA)
    assert error(logits, "logits_sigma") < TOLERANCE
    assert error(logits_of(model, ALPHA.flip(0)), "logits_sigma") > 100 * TOLERANCE
    sigma = torch.tensor(NUMBERS["sigma"]).repeat_interleave(7)[:, None]
    published = torch.tensor(NUMBERS["logits_sigma"]).view(-1, VOCABULARY)[:, :-1]
    published = published - torch.expm1(sigma).log() - math.log(VOCABULARY - 1)
    log_mu = build_process("sedd", WORDS).log_prediction(WORDS.generable_logits(logits))
    alpha = ALPHA.repeat_interleave(7)[:, None]
    found = log_mu + (alpha / (1 - alpha)).log()
    torch.testing.assert_close(found, published, rtol=1e-5, atol=1e-5)


# SDTT.


@pytest.mark.parametrize("prefix", ["backbone.", "backbone.backbone."])
def test_sdtt_folder_gives_the_published_logits(tmp_path: Path, prefix: str) -> None:
    model = opened(sdtt_folder(tmp_path / "right", published_weights(6), prefix))
    assert error(logits_of(model), "sdtt_logits") < TOLERANCE
    assert model.denoiser.settings == SETTINGS and model.process == "absorbing"
    damaged = published_weights(6)
    damaged["blocks.1.norm2.weight"] += 0.1
    wrong = opened(sdtt_folder(tmp_path / "wrong", damaged, prefix))
    assert error(logits_of(wrong), "sdtt_logits") > 100 * TOLERANCE


@pytest.mark.parametrize("name", ["ar", "partition-sdtt"])
def test_other_networks_of_sdtt_s_code_base_are_refused(tmp_path: Path, name: str) -> None:
    folder = sdtt_folder(tmp_path, published_weights(6))
    write_config(folder, {**SDTT_CONFIG, "parameterization": {"name": name}})
    with pytest.raises(UserError, match=f"parameterization '{name}' .*is not read"):
        opened(folder)


# What is refused, by the values of the public code bases.


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ar", "algo.name 'ar' is an autoregressive network: it is not read"),
        ("d3pm", "algo.name 'd3pm' is D3PM, whose network may predict the mask: it is not read"),
        ("ot-finetune", "algo.name 'ot-finetune' does not tell which: it is not read"),
    ],
)
def test_other_algorithms_of_duo_s_code_base(tmp_path: Path, name: str, message: str) -> None:
    content = training_content(config=algorithm_config(name))
    with pytest.raises(UserError, match=message):
        opened(write_checkpoint(tmp_path / "last.ckpt", content))
    folder = tmp_path / "folder"
    write_config(folder, {"config": algorithm_config(name), "vocab_size": VOCABULARY})
    save_file(published_weights(), folder / "model.safetensors")
    with pytest.raises(UserError, match=message):
        opened(folder)


def test_every_algorithm_of_duo_s_code_base_is_read_or_refused(tmp_path: Path) -> None:
    processes = {}
    for name in ALGORITHMS:
        content = training_content(config=algorithm_config(name))
        path = write_checkpoint(tmp_path / f"{name}.ckpt", content)
        try:
            processes[name] = opened(path).process
        except UserError:
            processes[name] = None
    uniform = dict.fromkeys(("distillation", "duo", "duo_base"), "uniform")
    refused = dict.fromkeys(("ar", "d3pm", "ot-finetune"))
    assert processes == {"mdlm": "absorbing", "sedd": "sedd", **uniform, **refused}


OLDER = {key: value for key, value in TRAINING_CONFIG.items() if key != "algo"}
"""MDLM's own code base, and UDLM's, keep at the top what Duo's puts under `algo`."""


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"parameterization": "d3pm", "diffusion": "absorbing_state"}, "'d3pm' is D3PM"),
        ({"parameterization": "ar", "diffusion": "absorbing_state"}, "'ar' is an autoregressive"),
        ({"parameterization": "d3pm", "diffusion": "uniform"}, "diffusion 'uniform' is UDLM"),
        ({"parameterization": "mean"}, "Duo's and D3PM's, and algo.name None does not tell which"),
    ],
)
def test_other_networks_of_mdlm_s_code_base(tmp_path: Path, said: dict, message: str) -> None:
    content = training_content(config={**OLDER, **said})
    with pytest.raises(UserError, match=message):
        opened(write_checkpoint(tmp_path / "last.ckpt", content))


def test_mdlm_s_code_base_is_read(tmp_path: Path) -> None:
    said = {"parameterization": "subs", "diffusion": "absorbing_state", "time_conditioning": False}
    content = training_content(config={**OLDER, **said}, ema_seed=3)
    model = opened(write_checkpoint(tmp_path / "last.ckpt", content))
    assert error(logits_of(model), "logits_sigma_zero") < TOLERANCE
    assert model.process == "absorbing"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "udlm"}, "model_type 'udlm' is UDLM, .*is not read"),
        ({"model_type": "bd3lm"}, "model_type 'bd3lm' is BD3-LM, .*is not read"),
        ({"model_type": "DUO", "causal": True}, "is an autoregressive network"),
    ],
)
def test_other_folders_of_the_hub(tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        opened(mdlm_folder(tmp_path, **changes))


def test_a_kind_that_contradicts_itself_is_refused(tmp_path: Path) -> None:
    contradictory = (
        *({"name": "duo"}, {"name": "mdlm", "parameterization": "mean"}),
        *({"name": "duo", "parameterization": "score"}, {"name": "sedd"}),
    )
    for algo in contradictory:
        config = {**TRAINING_CONFIG, "algo": {**TRAINING_CONFIG["algo"], **algo}}
        with pytest.raises(UserError, match=r"mend its config.json|does not tell which"):
            opened(write_checkpoint(tmp_path / "last.ckpt", training_content(config=config)))


def test_a_config_beside_it_tells_what_mean_is(tmp_path: Path) -> None:
    """As the message says."""
    content = training_content(config={**OLDER, "parameterization": "mean"}, ema_seed=3)
    write_checkpoint(tmp_path / "last.ckpt", content)
    write_config(tmp_path, {"model_type": "duo", "n_heads": SETTINGS.num_heads})
    assert error(logits_of(opened(tmp_path), ALPHA), "logits_sigma") < TOLERANCE
