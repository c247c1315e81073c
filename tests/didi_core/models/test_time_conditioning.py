"""Networks told the time: the ESM layout with its own folder, and the predictor that tells them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from exact_denoiser import toy_vocabulary
from published_folders import mdlm_folder
from safetensors.torch import load_file, save_file
from tiny_models import FRAMED, framed_batch, framed_dit, timed_esm, tiny_denoiser
from transformers import AutoConfig, AutoModelForMaskedLM

from didi_core.errors import UserError
from didi_core.models.folder import load_denoiser, save_model_folder
from didi_core.sampling.predictor import Predictor

BATCH = framed_batch([3, 4, 5, 3], [5, 5])


def logits(denoiser: torch.nn.Module, *alphas: float) -> torch.Tensor:
    with torch.no_grad():
        told = {"alpha": torch.tensor(alphas)} if alphas else {}
        return denoiser.logits_at(BATCH.tokens, BATCH.lengths, BATCH.maskable, **told)


def test_a_fresh_network_does_not_look_at_the_time_and_a_trained_one_does() -> None:
    denoiser = timed_esm()
    assert not torch.allclose(logits(denoiser, 0.2, 0.2), logits(denoiser, 0.9, 0.9))
    first = logits(denoiser, 0.2, 0.9)
    assert torch.equal(first[:4], logits(denoiser, 0.2, 0.2)[:4]), "each row has its own time"
    assert torch.equal(first[4:], logits(denoiser, 0.9, 0.9)[4:])
    denoiser.initialise(torch.Generator().manual_seed(0))
    assert torch.equal(logits(denoiser, 0.2, 0.2), logits(denoiser, 0.9, 0.9))
    plain = tiny_denoiser()
    plain.load_state_dict({name: denoiser.state_dict()[name] for name in plain.state_dict()})
    assert torch.equal(logits(denoiser, 0.2, 0.9), logits(plain))


def test_a_large_condition_does_not_drown_the_tokens_in_the_stream() -> None:
    """Nothing made of the time is added to the stream: other tokens still give other logits."""
    denoiser = timed_esm()
    with torch.no_grad():
        for name, parameter in denoiser.named_parameters():
            if "sigma_embedding" in name:
                parameter.mul_(1e3)
    others = BATCH.tokens.clone()
    others[0, 1] = BATCH.tokens[0, 1] + 1
    first = logits(denoiser, 0.5, 0.5)
    with torch.no_grad():
        told = {"alpha": torch.tensor([0.5, 0.5])}
        second = denoiser.logits_at(others, BATCH.lengths, BATCH.maskable, **told)
    assert (first - second)[:4].abs().max() > 0.1 * first.std()


def test_it_is_the_plain_network_with_norms_of_each_row_s_own() -> None:
    """At one time: (1 + scale) weight and (1 + scale) bias + shift in the norms of the trunk."""
    timed, plain = timed_esm(2, num_layers=2).double(), tiny_denoiser(num_layers=2).double()
    state = timed.state_dict()
    alpha = torch.tensor([0.4], dtype=torch.float64)
    with torch.no_grad():
        condition = timed.sigma_embedding(-alpha.log())[0]
    for name in [each for each in state if each.endswith("norm.modulation.weight")]:
        norm = name.removesuffix(".modulation.weight")
        made = state[name] @ condition + state[f"{norm}.modulation.bias"]
        shift, scale = made.chunk(2)
        state[f"{norm}.weight"] = (1 + scale) * state[f"{norm}.weight"]
        state[f"{norm}.bias"] = (1 + scale) * state[f"{norm}.bias"] + shift
    plain.load_state_dict({name: state[name] for name in plain.state_dict()})
    assert len(state) - len(plain.state_dict()) == 2 * 5 + 4  # five norms and the embedded time
    found = logits(timed, 0.4, 0.4)
    assert (found - logits(plain)).abs().max() < 1e-6 * found.std()


def test_a_folder_of_the_time_at_the_input_is_refused(tmp_path: Path) -> None:
    save_model_folder(tmp_path, timed_esm(), FRAMED, card="")
    path = tmp_path / "model.safetensors"
    weights = {n: w for n, w in load_file(path).items() if "modulation" not in n}
    weights["esm.time_embedding.out.weight"] = torch.zeros(8, 6)
    save_file(weights, path)
    with pytest.raises(UserError, match=r"earlier version.*train it again"):
        load_denoiser(tmp_path)


def test_a_folder_of_it_opens_here_and_nowhere_else(tmp_path: Path) -> None:
    denoiser = timed_esm(3)
    save_model_folder(
        tmp_path, denoiser, FRAMED, card="", extra_config={"didi": {"process": "uniform"}}
    )
    model = load_denoiser(tmp_path)
    assert model.process == "uniform" and model.denoiser.settings == denoiser.settings
    assert torch.equal(logits(model.denoiser, 0.3, 0.6), logits(denoiser, 0.3, 0.6))
    for opener in (AutoConfig, AutoModelForMaskedLM):
        with pytest.raises(ValueError, match="didi_esm"):
            opener.from_pretrained(tmp_path)


def test_folders_without_a_process_are_masked_and_unknown_ones_are_refused(tmp_path: Path) -> None:
    save_model_folder(tmp_path, tiny_denoiser(), FRAMED, card="")
    assert load_denoiser(tmp_path).process == "absorbing"
    config = json.loads((tmp_path / "config.json").read_text())
    config["didi"]["process"] = "gamma"
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"didi\.process is 'gamma'.*absorbing, uniform"):
        load_denoiser(tmp_path)


@pytest.mark.parametrize("denoiser", [timed_esm(), framed_dit(1, time_conditioned=True)])
def test_the_predictor_tells_the_time(denoiser) -> None:
    predictor = Predictor(denoiser, FRAMED)
    where = (BATCH.tokens, BATCH.lengths, BATCH.maskable)
    with torch.no_grad():
        found = predictor.log_probs(*where, alpha=0.25)
        rows = predictor.log_probs(*where, alpha=torch.tensor([0.25, 0.25]))
    assert torch.equal(found, FRAMED.log_probs(logits(denoiser, 0.25, 0.25)))
    assert torch.equal(found, rows)
    with pytest.raises(UserError, match="conditioned on time"):
        predictor.log_probs(*where)
    plain = Predictor(tiny_denoiser(), FRAMED)
    assert torch.equal(plain.log_probs(*where, alpha=0.25), plain.log_probs(*where))


def test_duo_is_uniform_and_need_not_have_a_mask(tmp_path: Path) -> None:
    folder = mdlm_folder(tmp_path, model_type="duo")
    size = json.loads((folder / "config.json").read_text())["vocab_size"]
    for vocabulary in (toy_vocabulary_of(size - 1), toy_vocabulary_of(size)):
        model = load_denoiser(folder, default_vocabulary=vocabulary)
        assert model.process == "uniform" and model.vocabulary is vocabulary


def toy_vocabulary_of(num_tokens: int):
    """Generable tokens 0, 1, ..., then mask; padding is the last generable one, as in text."""
    return replace(
        toy_vocabulary(2),
        tokens=tuple(map(str, range(num_tokens + 1))),
        mask_id=num_tokens,
        pad_id=num_tokens - 1,
        generable_ids=tuple(range(num_tokens)),
    )
