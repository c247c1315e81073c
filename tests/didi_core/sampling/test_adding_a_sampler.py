"""The worked sampler of docs/adding-a-sampler.md, run as it stands there."""

import sys
from types import ModuleType

import pytest
import torch
from doc_commands import files_of
from exact_denoiser import (
    ExactDenoiser,
    chi_square_p_value,
    draw_sequences,
    random_law,
    toy_vocabulary,
)
from tiny_models import FRAMED, MASK, tiny_denoiser

from didi_core.errors import UserError
from didi_core.models.folder import load_denoiser, save_model_folder
from didi_core.sampling import registry
from didi_core.sampling.filling import build_prior
from didi_core.sampling.predictor import Predictor
from didi_core.sampling.request import SampleSettings


@pytest.fixture
def in_order(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The page's file as a module, and its entry in the registry."""
    module = ModuleType("didi_core.sampling.in_order")
    monkeypatch.setitem(sys.modules, module.__name__, module)  # dataclasses look it up
    source = files_of("adding-a-sampler.md")["didi_core/sampling/in_order.py"]
    exec(compile(source, "in_order.py", "exec"), module.__dict__)
    monkeypatch.setitem(registry.SAMPLERS, module.ENTRY.name, module.ENTRY)
    return module


def test_a_step_for_every_position_is_exact_and_calls_are_counted(in_order: ModuleType) -> None:
    law = random_law(3, 3, seed=5)
    predictor = Predictor(ExactDenoiser([law], 3), toy_vocabulary(3))
    sampler = in_order.InOrderSampler(predictor)
    for steps, reached in ((3, True), (1, False)):
        settings = SampleSettings(steps=steps, seed=1)
        found = draw_sequences(sampler, predictor, settings, [3] * 3, 50_000)
        p_value = chi_square_p_value(found, law)
        assert p_value > 1e-3 if reached else p_value < 1e-12
        prior = build_prior([[3] * 3, [3, 1, 3], [0, 1, 2]], range(3), toy_vocabulary(3), "cpu")
        calls = sampler.sample(prior, settings).denoiser_calls
        assert calls.tolist() == [sampler.num_steps(free, settings) for free in (3, 2, 0)]


def test_it_starts_where_it_is_told_to(in_order: ModuleType) -> None:
    """Each position is asked for with what stands before it, from the side asked for."""
    seen = []

    class Watched(Predictor):
        def log_probs(self, tokens, lengths, at, keys=None, alpha=None):
            seen.append([i - 1 for i in at[0].nonzero()[:, 0].tolist()])
            return super().log_probs(tokens, lengths, at, keys, alpha)

    predictor = Watched(tiny_denoiser(), FRAMED)
    prior = build_prior([FRAMED.frame([MASK, 4, MASK, MASK])], [0], FRAMED, "cpu")
    for start in ("left", "right"):
        sampler = in_order.InOrderSampler(predictor, in_order.InOrderSettings(start))
        sampler.sample(prior, SampleSettings(steps=3))
    assert seen == [[0], [2], [3], [3], [2], [0]]


def test_its_entry_builds_it_and_refuses_what_it_would_ignore(
    in_order: ModuleType, tmp_path
) -> None:
    save_model_folder(tmp_path, tiny_denoiser(), FRAMED, card="")
    model = load_denoiser(tmp_path, dtype=torch.float64)
    kind = registry.find_sampler("in-order")
    predictor = registry.build_predictor(model)
    sampler = kind.build(predictor, model, {"start": "right"})
    assert sampler.order == in_order.InOrderSettings("right")
    with pytest.raises(UserError, match="start=middle must be left or right"):
        kind.build(predictor, model, {"start": "middle"})
    for refused in (
        SampleSettings(None),
        SampleSettings(4, grid="published"),
        SampleSettings(4, reveal_exponent=2.0),
    ):
        with pytest.raises(UserError, match="--sampler in-order"):
            registry.check_settings(kind, refused)
