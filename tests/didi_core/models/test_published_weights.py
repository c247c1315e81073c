"""Weights of MDLM, Duo's code base and DiDi-Instruct: what is read, and what is refused."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from dit_fixtures import (
    CONDITION,
    HIDDEN,
    LAYERS,
    SETTINGS,
    VOCABULARY,
    WORDS,
    discriminator_shapes,
    draw,
    published_shapes,
    published_weights,
    real_logits,
    tiny_dit,
    token_rows,
)
from published_folders import (
    TRAINING_CONFIG,
    didi_content,
    didi_folder,
    mdlm_folder,
    mmd_content,
    prefixed,
    training_content,
    write_checkpoint,
    write_config,
)
from safetensors.torch import load_file, save_file
from torch import Tensor

from didi_core.errors import UserError
from didi_core.models.discriminator import load_discriminator
from didi_core.models.dit_names import from_published
from didi_core.models.folder import LoadedModel, load_denoiser
from didi_core.models.noise import MaskNoise
from didi_core.sampling.filling import build_prior
from didi_core.sampling.registry import build_predictor, find_sampler
from didi_core.sampling.request import SampleSettings

TRAINED = {**TRAINING_CONFIG, "vocab_size": VOCABULARY}
WIDE = {"hidden": 256, "layers": 1}
"""A width whose heads are known, because a published network has it."""


def opened(path: Path, **options: object) -> LoadedModel:
    return load_denoiser(path, **{"default_vocabulary": WORDS, **options})


def logits_of(model: LoadedModel) -> Tensor:
    return real_logits(model.denoiser, *token_rows())


def expected_logits(seed: int = 0) -> Tensor:
    return real_logits(tiny_dit(seed), *token_rows())


# What is read.


def test_mdlm_folder(tmp_path: Path) -> None:
    model = opened(mdlm_folder(tmp_path))
    assert torch.equal(logits_of(model), expected_logits())
    assert model.denoiser.settings == SETTINGS
    assert model.vocabulary == WORDS and model.config["model_type"] == "mdlm"
    assert not model.extras and not model.denoiser.training


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_pickled_folder(tmp_path: Path, dtype: torch.dtype) -> None:
    folder = mdlm_folder(tmp_path)
    stored = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save({n: t.to(dtype) for n, t in stored.items()}, folder / "pytorch_model.bin")
    rounded = {name: tensor.to(dtype).float() for name, tensor in published_weights().items()}
    found = from_published(rounded, SETTINGS, "rounded")
    assert torch.equal(logits_of(opened(folder)), real_logits(found, *token_rows()))


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("as_folder", [True, False], ids=["folder", "file"])
def test_training_checkpoint_gives_the_averaged_network(
    tmp_path: Path, zipped: bool, as_folder: bool
) -> None:
    path = write_checkpoint(tmp_path / "mdlm.ckpt", training_content(), zipped)
    model = opened(tmp_path if as_folder else path)
    assert torch.equal(logits_of(model), expected_logits(seed=9))
    assert not torch.equal(logits_of(model), expected_logits(seed=0)), "control: the last weights"
    assert model.denoiser.settings == SETTINGS, "heads come from the stored configuration"
    assert model.config["algo"]["parameterization"] == "subs"
    assert model.folder == tmp_path and not model.extras


def test_training_checkpoint_without_an_average(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "mdlm.ckpt", training_content(ema_seed=None))
    assert torch.equal(logits_of(opened(path)), expected_logits(seed=0))


def test_a_config_beside_a_checkpoint_wins(tmp_path: Path) -> None:
    content = training_content()
    del content["hyper_parameters"]
    path = write_checkpoint(tmp_path / "last.ckpt", content)
    with pytest.raises(UserError, match="does not say what its network predicts"):
        opened(path)
    write_config(tmp_path, {"model_type": "mdlm", "n_heads": 2, "model_length": 64})
    assert torch.equal(logits_of(opened(tmp_path)), expected_logits(seed=9))


@pytest.mark.parametrize("kind", ["mdlm", "duo"])
def test_a_config_beside_says_that_the_mask_is_not_the_last_id(tmp_path: Path, kind: str) -> None:
    """As BERT's vocabulary has it, in which the checkpoints of the LM1B runs are."""
    path = write_checkpoint(tmp_path / "last.ckpt", training_content())
    ids = tuple(each for each in range(VOCABULARY) if each not in (0, 3))
    inside = replace(WORDS, mask_id=3, pad_id=0, generable_ids=ids)
    refused(path, "mask_token_id in config.json is 14, not 3", default_vocabulary=inside)
    config = {"model_type": kind, "n_heads": 2, "model_length": 64, "mask_token_id": 3}
    write_config(tmp_path, config)
    model = opened(tmp_path, default_vocabulary=inside)
    assert model.vocabulary == inside and model.denoiser.settings.mask_id == 3
    assert model.process == ("uniform" if kind == "duo" else "absorbing")


def test_older_training_configuration(tmp_path: Path) -> None:
    """MDLM's own code keeps what Duo's puts under `algo` at the top."""
    config = {key: value for key, value in TRAINING_CONFIG.items() if key != "algo"}
    config |= {"parameterization": "subs", "time_conditioning": True, "backbone": "dit"}
    model = opened(write_checkpoint(tmp_path / "a.ckpt", training_content(config=config)))
    assert model.denoiser.settings == replace(SETTINGS, time_conditioned=True)


@pytest.mark.parametrize("nested", [{"config": TRAINING_CONFIG, "vocab_size": VOCABULARY}, TRAINED])
def test_didi_instruct_folder(tmp_path: Path, nested: dict) -> None:
    model = opened(didi_folder(tmp_path, nested, published_weights(4)))
    assert torch.equal(logits_of(model), expected_logits(seed=4))
    assert model.denoiser.settings == SETTINGS
    assert model.extras == {"discriminator": tmp_path / "discriminator.safetensors"}
    require_discriminator(model)


def require_discriminator(model: LoadedModel) -> None:
    """The extra of the folder is the discriminator of seed 5, under its published names."""
    found = load_discriminator(model.denoiser, model.extras["discriminator"])
    stored = draw(discriminator_shapes(), 5)
    assert torch.equal(found.output_layer.main[0].weight_u, stored["output_layer.main.0.weight_u"])
    assert torch.equal(found.trunk.blocks[2].mlp_in.bias, stored["blocks.2.mlp.0.bias"])
    tokens, lengths = token_rows()
    assert found.logits_at(tokens, lengths, tokens == SETTINGS.mask_id).isfinite().all()


def test_rgas_samples_from_a_didi_instruct_folder(tmp_path: Path) -> None:
    """By name, as `--sampler rgas` does, with its own discriminator."""
    model = opened(didi_folder(tmp_path, TRAINED, published_weights(4)))
    predictor = build_predictor(model)
    sampler = find_sampler("rgas").build(predictor, model, {})
    prior = build_prior([[WORDS.mask_id] * 9], [0], WORDS, "cpu")
    sampled = sampler.sample(prior, SampleSettings(steps=4, seed=1))
    assert WORDS.mask_id not in sampled.tokens[0, :9]
    assert int(sampled.discriminator_calls) > 0
    stored = draw(discriminator_shapes(), 5)["output_layer.main.2.bias"]
    assert torch.equal(sampler.discriminator.output_layer.main[2].bias, stored)


def test_rgas_as_the_public_checkpoint_was_sampled(tmp_path: Path) -> None:
    """Student and discriminator are told the time, which the folder says they are not."""
    model = opened(didi_folder(tmp_path, TRAINED, published_weights(4)))
    kind, predictor = find_sampler("rgas"), build_predictor(model)
    prior = build_prior([[WORDS.mask_id] * 30] * 8, range(8), WORDS, "cpu")
    settings = SampleSettings(steps=4, seed=1)
    own = {"rerank_positions": "all", "candidate_positions": "own"}
    samplers = [
        kind.build(predictor, model, {"compat": "released"}),
        kind.build(predictor, model, own),
    ]
    released, ours = (sampler.sample(prior, settings) for sampler in samplers)
    for network in (samplers[0].predictor.denoiser, samplers[0].discriminator.trunk):
        assert network.settings.time_conditioned
    assert not model.denoiser.settings.time_conditioned
    assert WORDS.mask_id not in released.tokens[:, :30]
    assert not torch.equal(released.tokens, ours.tokens)
    noisy = replace(predictor, noise=MaskNoise("position", 2, SETTINGS.hidden_size))
    with pytest.raises(UserError, match=r"rgas\(compat=released\): .* has a noise input"):
        kind.build(noisy, model, {"compat": "released"})


@pytest.mark.parametrize("config", [None, {}, {"vocab_size": VOCABULARY}])
def test_didi_instruct_folder_that_does_not_say_its_shape(
    tmp_path: Path, config: dict | None
) -> None:
    """The hub's mixin leaves out what is no JSON; sizes come from the tensors then."""
    weights = draw(published_shapes(**WIDE), 2)
    settings = replace(SETTINGS, num_layers=1, hidden_size=256, num_heads=8, max_tokens=1024)
    model = opened(didi_folder(tmp_path, config, weights))
    assert model.denoiser.settings == settings
    by_hand = from_published(weights, settings, "by hand")
    assert torch.equal(logits_of(model), real_logits(by_hand, *token_rows()))


@pytest.mark.parametrize("has_config", [True, False])
def test_didi_instruct_checkpoint(tmp_path: Path, has_config: bool) -> None:
    content = didi_content()
    if not has_config:
        del content["hyper_parameters"]
        with pytest.raises(UserError, match="num_attention_heads or n_heads"):
            opened(write_checkpoint(tmp_path / "unknown" / "didi.ckpt", content))
        return
    path = write_checkpoint(tmp_path / "didi-instruct.ckpt", content)
    model = opened(path)
    assert torch.equal(logits_of(model), expected_logits(seed=4)), "the averaged student"
    assert model.extras == {"discriminator": path}
    require_discriminator(model)


def test_checkpoint_converted_from_the_hub(tmp_path: Path) -> None:
    """Nothing but `student_ema.*` and `discriminator.*`, as the public converter writes."""
    weights = prefixed("student_ema.", draw(published_shapes(**WIDE), 2))
    discriminator = prefixed("discriminator.", draw(discriminator_shapes(), 5))
    content = {
        "epoch": 0,
        "global_step": 0,
        "pytorch-lightning_version": "2.5.3",
        "state_dict": {**weights, **discriminator},
    }
    model = opened(write_checkpoint(tmp_path / "from-hf.ckpt", content))
    assert model.denoiser.settings.num_heads == 8 and "discriminator" in model.extras


@pytest.mark.parametrize("is_average", [True, False])
def test_mdlm_mmd_checkpoint(tmp_path: Path, is_average: bool) -> None:
    model = opened(write_checkpoint(tmp_path / "model.ckpt", mmd_content(is_average)))
    assert torch.equal(logits_of(model), expected_logits(seed=7)), "the averaged student"
    assert model.denoiser.settings == SETTINGS and model.process == "absorbing"
    assert model.extras == {}


def test_mdlm_mmd_folder_has_its_checkpoint_beside(tmp_path: Path) -> None:
    """A folder of MDLM's; the checkpoint in it holds the same weights and is not asked."""
    folder = mdlm_folder(tmp_path, published_weights(7))
    write_checkpoint(folder / "model.ckpt", mmd_content(False))
    assert torch.equal(logits_of(opened(folder)), expected_logits(seed=7))


def test_duo_is_known_to_be_conditioned_on_time(tmp_path: Path) -> None:
    model = opened(mdlm_folder(tmp_path, model_type="DUO", time_conditioning=None, causal=False))
    assert model.denoiser.settings.time_conditioned
    with pytest.raises(UserError, match="conditioned on time"):
        logits_of(model)


# What is refused.


def refused(path: Path, message: str, **options: object) -> None:
    with pytest.raises(UserError, match=message):
        opened(path, **options)


def test_missing_and_unexpected_tensors_are_listed(tmp_path: Path) -> None:
    weights = published_weights()
    del weights["blocks.1.norm2.weight"], weights["output_layer.linear.bias"]
    weights["blocks.0.attn_qkv.bias"] = torch.zeros(3 * HIDDEN)
    refused(
        mdlm_folder(tmp_path, weights),
        r"missing: blocks\.1\.norm2\.weight, output_layer\.linear\.bias; "
        r"unexpected: blocks\.0\.attn_qkv\.bias\.",
    )


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("hidden_dim", 32, r"attn_qkv\.weight \[48, 16\], not \[96, 32\]"),
        ("n_blocks", 4, r"missing: blocks\.3\.adaLN_modulation\.bias"),
        ("n_blocks", 2, r"unexpected: blocks\.2\.adaLN_modulation\.bias"),
        ("cond_dim", 24, r"sigma_map\.mlp\.2\.weight \[12, 12\], not \[24, 24\]"),
        ("n_heads", 0, "n_heads is 0"),
        ("n_heads", 3, "not an even multiple of the 3 heads"),
        ("n_heads", True, "n_heads is True"),
        ("n_heads", None, "lacks num_attention_heads or n_heads"),
        ("causal", True, "autoregressive"),
        ("mask_token_id", VOCABULARY, "mask_token_id is 15 in config.json, not a token's id"),
    ],
)
def test_configs_that_do_not_fit(tmp_path: Path, key: str, value: object, message: str) -> None:
    refused(mdlm_folder(tmp_path, **{key: value}), message)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_not_finite(tmp_path: Path, value: float) -> None:
    weights = published_weights()
    weights["vocab_embed.embedding"][3, 2] = value
    refused(mdlm_folder(tmp_path, weights), r"NaN or infinity in vocab_embed\.embedding:")
    content = training_content()
    content["ema"]["shadow_params"][4][0] = value
    path = write_checkpoint(tmp_path / "x.ckpt", content)
    refused(path, r"NaN or infinity in sigma_map\.mlp\.2\.bias:")


def test_another_mask_or_vocabulary_is_refused(tmp_path: Path) -> None:
    folder = mdlm_folder(tmp_path / "a")
    other = replace(WORDS, mask_id=0, generable_ids=tuple(range(1, VOCABULARY)))
    refused(folder, "mask_token_id in config.json is 14, not 0", default_vocabulary=other)
    short = replace(WORDS, tokens=WORDS.tokens[:-1], mask_id=13, generable_ids=tuple(range(13)))
    refused(folder, "vocab_size in config.json is 15, not 14", default_vocabulary=short)
    refused(folder, "may be generated", default_vocabulary=None)
    path = write_checkpoint(tmp_path / "b.ckpt", training_content())
    refused(path, "mask_token_id in config.json is 14, not 0", default_vocabulary=other)
    wrong = mdlm_folder(tmp_path / "c", mask_token_id=3)
    refused(wrong, "mask_token_id in config.json is 3, not 14")


def test_networks_that_predict_something_else(tmp_path: Path) -> None:
    """SEDD's tensors have the same names and shapes, and mean scores."""
    write_config(tmp_path, {"graph": {"type": "absorb"}, "model": TRAINING_CONFIG["model"]})
    save_file(prefixed("", published_weights()), tmp_path / "model.safetensors")
    refused(tmp_path, "does not say what its network predicts")


CAUSAL = {**TRAINING_CONFIG, "algo": {**TRAINING_CONFIG["algo"], "causal_attention": True}}


def averaged(*order: int) -> dict:
    """A checkpoint whose averages stand in another order, or are fewer."""
    content = training_content()
    shadow = content["ema"]["shadow_params"]
    places = [*order, *range(len(order), len(shadow))] if order else range(len(shadow) - 1)
    return content | {"ema": {"shadow_params": [shadow[place] for place in places]}}


def reordered() -> dict:
    content = training_content()
    content["state_dict"].move_to_end("backbone.blocks.0.norm1.weight")
    return content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (training_content(config=CAUSAL), "autoregressive"),
        (averaged(0, 3, 2, 1), r"\(ema\) cannot be given names"),
        (averaged(), r"\(ema\) cannot be given names"),
        (reordered(), r"\(ema\) cannot be given names"),
        (training_content(**{"classifier.weight": torch.zeros(2)}), r"network: classifier\.weight"),
        ({"state_dict": {"backbone.conv.weight": torch.zeros(2)}}, "no network in MDLM's layout"),
        ({"weights": 3}, "no training checkpoint"),
        (training_content() | {"ema": {"shadow_params": 3}}, "no list of tensors"),
    ],
)
def test_checkpoints_of_something_else(tmp_path: Path, content: dict, message: str) -> None:
    kept = {"epoch": 0, "global_step": 0, "pytorch-lightning_version": "2"}
    content = content if "weights" in content else kept | content
    refused(write_checkpoint(tmp_path / "x.ckpt", content), message)


def test_prefixed_weights_without_a_config_are_unfinished(tmp_path: Path) -> None:
    """So are ours when writing was interrupted; a guess could be wrong about the heads."""
    weights = prefixed("backbone.", draw(published_shapes(**WIDE)))
    save_file(weights, tmp_path / "model.safetensors")
    refused(tmp_path, "was not finished")


def test_sizes_of_the_fixture_are_told_apart() -> None:
    """No two sizes are equal, or a mix-up of them would go unseen."""
    sizes = (VOCABULARY, HIDDEN, CONDITION, LAYERS, SETTINGS.num_heads, SETTINGS.max_tokens)
    assert len(set(sizes)) == len(sizes)
