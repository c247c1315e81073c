"""The stochastic mask: latents, projection, folder, samplers, and methods that train it."""

import copy
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from dit_fixtures import MASK as DIT_MASK
from dit_fixtures import tiny_dit
from tiny_models import (
    FRAMED,
    MASK,
    cpu_fabric,
    framed_batch,
    tiny_corpus,
    tiny_denoiser,
    tiny_discriminator,
)
from torch import Tensor

from didi_core.distill.didi import DidiInstruct
from didi_core.distill.didi_settings import DidiSettings
from didi_core.distill.dmmd import DmmdSettings, MomentMatching
from didi_core.distill.optimizers import OptimizerSettings
from didi_core.distill.reference import GroupedReference
from didi_core.distill.registry import method_settings
from didi_core.distill.student import DistilledStudent
from didi_core.errors import UserError
from didi_core.models.discriminator import save_discriminator
from didi_core.models.folder import load_denoiser, save_model_folder
from didi_core.models.noise import (
    MaskNoise,
    NoiseKeys,
    NoiseSettings,
    NoisyDenoiser,
    draw_latents,
    with_noise,
    without_noise,
)
from didi_core.models.noise_file import save_noise
from didi_core.models.weak_file import save_weak
from didi_core.models.weight_files import file_digest
from didi_core.sampling.filling import build_engine, build_prior
from didi_core.sampling.predictor import Predictor
from didi_core.sampling.registry import SAMPLERS, build_predictor
from didi_core.sampling.request import DrawSettings, SampleSettings

BATCH = framed_batch([MASK, 3, MASK, 4], [MASK, MASK], [5, 4, 3])
MASKED = BATCH.tokens == MASK
KEYS = NoiseKeys(seed=3, records=torch.tensor([7, 2**41, 5]), step=2)


def noisy(kind: str = "position", seed: int = 1, scale: float = 0.5) -> NoisyDenoiser:
    """A random denoiser in float64 with a random projection of 6 normal numbers."""
    denoiser = tiny_denoiser(seed, torch.float64)
    return with_noise(denoiser, NoiseSettings(kind, 6, scale), seed)


def predictor_of(network: NoisyDenoiser) -> Predictor:
    return Predictor(network, FRAMED, network.noise)


def log_probs(network: NoisyDenoiser, keys: NoiseKeys | None = KEYS) -> Tensor:
    return predictor_of(network).log_probs(BATCH.tokens, BATCH.lengths, MASKED, keys)


@pytest.mark.parametrize("kind", ["position", "sequence"])
def test_latents_are_standard_normal(kind: str) -> None:
    keys = NoiseKeys(0, torch.arange(3000), step=0)
    drawn = draw_latents(kind, 5, keys, torch.ones(3000, 2, dtype=torch.bool))[::2]
    count = drawn.numel()
    assert float(drawn.mean()) == pytest.approx(0, abs=4 / math.sqrt(count))
    assert float(drawn.var()) == pytest.approx(1, abs=4 * math.sqrt(2 / count))
    assert float((drawn < -1).double().mean()) == pytest.approx(0.1587, abs=0.013)
    correlations = torch.corrcoef(drawn.T) - torch.eye(5)
    assert float(correlations.abs().max()) < 5 / math.sqrt(3000)


def test_latents_are_drawn_anew_for_each_position_and_step_or_kept_for_the_sequence() -> None:
    for kind, fresh in (("position", True), ("sequence", False)):
        first = draw_latents(kind, 4, KEYS, MASKED)
        assert torch.equal(first, draw_latents(kind, 4, KEYS, MASKED)), "keyed, so repeatable"
        later = draw_latents(kind, 4, replace(KEYS, step=3), MASKED)
        assert torch.equal(first, later) is not fresh
        assert torch.equal(first[0], first[1]) is not fresh, "two positions of one row"
        assert not torch.equal(first[0], first[2]), "two rows"
        for other in (replace(KEYS, seed=4), replace(KEYS, update=1)):
            assert not torch.equal(first, draw_latents(kind, 4, other, MASKED))
    # What a position gets does not depend on what else is masked.
    fewer = MASKED.clone()
    fewer[0, 1] = False
    found = draw_latents("position", 4, KEYS, fewer)
    assert torch.equal(found, draw_latents("position", 4, KEYS, MASKED)[1:])


@pytest.mark.parametrize("kind", ["position", "sequence"])
def test_a_zero_projection_is_the_teacher_bit_for_bit(kind: str) -> None:
    teacher = tiny_denoiser(1)
    student = with_noise(tiny_denoiser(1), NoiseSettings(kind, 6, 0.0), seed=0)
    at = BATCH.tokens != FRAMED.pad_id
    latents = draw_latents(kind, 6, KEYS, MASKED)
    found = student.logits_at(BATCH.tokens, BATCH.lengths, at, latents=latents)
    assert torch.equal(found, teacher.logits_at(BATCH.tokens, BATCH.lengths, at))
    moved = with_noise(tiny_denoiser(1), NoiseSettings(kind, 6, 0.5), seed=0)
    assert not torch.equal(found, moved.logits_at(BATCH.tokens, BATCH.lengths, at, latents=latents))
    assert with_noise(teacher, NoiseSettings(), seed=0) is teacher


@pytest.mark.parametrize("scale", [0.0, 0.5])
def test_a_transformer_of_the_text_layout_takes_the_noise_as_well(scale: float) -> None:
    teacher = tiny_dit(3)
    student = with_noise(copy.deepcopy(teacher), NoiseSettings("sequence", 6, scale), seed=0)
    tokens, lengths = torch.tensor([[2, DIT_MASK, 5, DIT_MASK]]), torch.tensor([4])
    at = tokens == DIT_MASK
    latents = draw_latents("sequence", 6, replace(KEYS, records=torch.tensor([4])), at)
    found = student.logits_at(tokens, lengths, at, latents=latents)
    assert torch.equal(found, teacher.logits_at(tokens, lengths, at)) is (scale == 0.0)
    found.square().sum().backward()
    assert float(student.noise.projection.weight.grad.abs().max()) > 0


def test_the_scale_at_the_start_is_relative_to_the_embeddings() -> None:
    denoiser = tiny_denoiser(1)
    noise = with_noise(denoiser, NoiseSettings("position", 64, 0.3), seed=0).noise
    keys = NoiseKeys(0, torch.arange(400), step=0)
    added = noise(draw_latents("position", 64, keys, torch.ones(400, 4, dtype=torch.bool)))
    size = float(denoiser.embedding.weight.detach().square().mean().sqrt())
    assert float(added.detach().square().mean().sqrt()) == pytest.approx(0.3 * size, rel=0.1)


def test_noise_is_added_to_the_mask_s_embedding_alone() -> None:
    network = noisy()
    latents = draw_latents("position", 6, KEYS, MASKED)
    added = network._placed(BATCH.tokens, latents)
    assert (added[~MASKED] == 0).all()
    torch.testing.assert_close(added[MASKED], latents @ network.noise.projection.weight.T)
    for dropout in (False, True):
        denoiser = network.denoiser
        denoiser.settings = replace(denoiser.settings, token_dropout=dropout)
        plain = denoiser.embed(BATCH.tokens, BATCH.lengths)
        found = denoiser.embed(BATCH.tokens, BATCH.lengths, noise=added)
        torch.testing.assert_close(found - plain, added)
        if dropout:
            assert (plain[MASKED] == 0).all(), "noise comes after the zeroing"


def test_without_keys_there_is_no_noise() -> None:
    network = noisy()
    plain = Predictor(network.denoiser, FRAMED)
    expected = plain.log_probs(BATCH.tokens, BATCH.lengths, MASKED)
    assert torch.equal(log_probs(network, None), expected)
    assert not torch.allclose(log_probs(network), expected, atol=1e-3)


@pytest.mark.parametrize("kind", ["position", "sequence"])
def test_padding_and_neighbours_do_not_change_a_row(kind: str) -> None:
    network = noisy(kind)
    together, start = log_probs(network), 0
    for row in range(len(BATCH)):
        count = int(MASKED[row].sum())
        alone = BATCH.rows(slice(row, row + 1))
        wide = torch.cat([alone.tokens, torch.full((1, 16), FRAMED.pad_id)], dim=1)
        keys = replace(KEYS, records=KEYS.records[row : row + 1])
        for tokens in (alone.tokens, wide, alone.tokens[:, : int(alone.lengths)]):
            found = predictor_of(network).log_probs(tokens, alone.lengths, tokens == MASK, keys)
            torch.testing.assert_close(found, together[start : start + count], rtol=1e-9, atol=1e-9)
        start += count


def folder_of(network: NoisyDenoiser, folder: Path) -> Path:
    denoiser, noise = without_noise(network.float())
    save_model_folder(
        folder, denoiser, FRAMED, card="", extra_config={"didi": {"noise": noise.kind}}
    )
    save_noise(noise, folder)
    save_discriminator(tiny_discriminator(2), folder / "discriminator.safetensors")
    save_weak(tiny_denoiser(2), folder / "weak.safetensors")
    return folder


@pytest.mark.parametrize("kind", ["position", "sequence"])
def test_a_saved_noise_input_is_read_again(kind: str, tmp_path: Path) -> None:
    network = noisy(kind)
    model = load_denoiser(folder_of(network, tmp_path))
    predictor = build_predictor(model)
    assert predictor.noise.kind == kind and predictor.noise.size == 6
    found = predictor.log_probs(BATCH.tokens, BATCH.lengths, MASKED, KEYS)
    assert torch.equal(found, log_probs(network))
    assert not any(p.requires_grad for p in predictor.noise.parameters())
    plain = build_predictor(model, with_noise=False)
    assert torch.equal(
        plain.log_probs(BATCH.tokens, BATCH.lengths, MASKED, KEYS), log_probs(network, None)
    )
    first = file_digest(model.extras["noise"])
    network.noise.projection.weight.data[0, 0] += 1
    save_noise(network.noise, tmp_path)
    assert file_digest(model.extras["noise"]) != first and file_digest(None) is None


def test_a_folder_whose_noise_does_not_fit_is_refused(tmp_path: Path) -> None:
    folder_of(noisy(), tmp_path)
    (tmp_path / "noise.safetensors").unlink()
    with pytest.raises(UserError, match=r"noise.safetensors is missing"):
        build_predictor(load_denoiser(tmp_path))
    save_noise(MaskNoise("position", 6, hidden_size=10), tmp_path)
    with pytest.raises(UserError, match="does not fit its model"):
        build_predictor(load_denoiser(tmp_path))
    save_model_folder(tmp_path, tiny_denoiser(), FRAMED, card="")
    with pytest.raises(UserError, match=r"config.json names no kind"):
        build_predictor(load_denoiser(tmp_path))
    save_noise(None, tmp_path)
    model = load_denoiser(tmp_path)
    assert build_predictor(model).noise is None
    with pytest.raises(UserError, match=r"--without-noise: .* has no noise input"):
        build_predictor(model, with_noise=False)


MASKED_SAMPLERS = [kind.name for kind in SAMPLERS.values() if "absorbing" in kind.processes]
ROWS = [FRAMED.frame([MASK] * 9), FRAMED.frame([MASK, 3, MASK, 4]), FRAMED.frame([MASK] * 14)]


@pytest.mark.parametrize("kind", ["position", "sequence"])
@pytest.mark.parametrize("name", MASKED_SAMPLERS)
def test_every_sampler_gives_the_noise_and_no_row_depends_on_another(
    name: str, kind: str, tmp_path: Path
) -> None:
    """Nor on its padding: tokens and calls are those of the row alone, and what is given stays."""
    model = load_denoiser(folder_of(noisy(kind, scale=2.0), tmp_path), dtype=torch.float64)
    entry = SAMPLERS[name]
    settings = SampleSettings(steps=3 if entry.takes_steps else None, seed=5)

    def designs(rows: list[list[int]], records: list[int], with_noise: bool = True) -> list:
        predictor = build_predictor(model, with_noise=with_noise)
        prior = build_prior(rows, records, FRAMED, "cpu")
        made = entry.build(predictor, model, {}).sample(prior, settings)
        for tokens, row in zip(made.tokens, rows, strict=True):
            assert tokens[len(row) :].eq(FRAMED.pad_id).all()
        calls = zip(made.denoiser_calls.tolist(), made.discriminator_calls.tolist(), strict=True)
        drawn = zip(made.tokens.tolist(), rows, calls, strict=True)
        return [(tokens[: len(row)], asked) for tokens, row, asked in drawn]

    together = designs(ROWS, [4, 0, 2**40])
    assert together != designs(ROWS, [4, 0, 2**40], with_noise=False)
    for row, record, found in zip(ROWS, [4, 0, 2**40], together, strict=True):
        assert designs([row], [record]) == [found]
        assert MASK not in found[0]
        assert all(new == old for new, old in zip(found[0], row, strict=True) if old != MASK)


@pytest.mark.parametrize("name", MASKED_SAMPLERS)
def test_every_sampler_obeys_the_settings_of_a_draw(name: str, tmp_path: Path) -> None:
    model = load_denoiser(folder_of(noisy("position", scale=2.0), tmp_path))
    entry, rows = SAMPLERS[name], [FRAMED.frame([MASK] * 14)] * 8
    sampler = entry.build(build_predictor(model, with_noise=False), model, {})
    prior = build_prior(rows, range(8), FRAMED, "cpu")

    def tokens(**draw: object) -> torch.Tensor:
        draws, steps = DrawSettings(**draw), 4 if entry.takes_steps else None
        return sampler.sample(prior, SampleSettings(steps, seed=1, draw=draws)).tokens

    plain = tokens()
    assert {1, 2, 4} < set(plain.unique().tolist()) <= {1, 2, 3, 4, 5}
    assert not (tokens(log_bias=torch.tensor([0.0, -torch.inf, 0.0])) == 4).any()
    assert not torch.equal(plain, tokens(temperature=0.3))
    assert not torch.equal(plain, tokens(top_p=0.5))


@pytest.mark.parametrize("draws", ["float64", "float32"])
@pytest.mark.parametrize("name", MASKED_SAMPLERS)
def test_every_sampler_obeys_what_a_position_may_not_get(
    name: str, draws: str, tmp_path: Path
) -> None:
    """Each row forbids tokens of its own, at some positions; whatever else stands in the batch."""
    model = load_denoiser(folder_of(noisy("position", scale=2.0), tmp_path))
    entry, keys = SAMPLERS[name], [7, 3, 2**40, 5]
    engine = build_engine(
        build_predictor(model), lambda predictor: entry.build(predictor, model, {})
    )
    rows = [FRAMED.frame([MASK, 4, *[MASK] * length]) for length in (9, 12, 4, 14)]
    forbidden = [{1 + 2 * i: (own,) for i in range(3)} for own in (2, 4, 5)] + [{3: (2, 5)}]
    steps = 4 if entry.takes_steps else None
    settings = SampleSettings(steps, seed=1, draw=DrawSettings(top_p=0.9, precision=draws))

    def designs(places: list[int], *, forbids: bool = True) -> list[list[int]]:
        chosen = [forbidden[place] for place in places] if forbids else []
        own = [rows[place] for place in places]
        made = engine.fill(own, [keys[place] for place in places], settings, chosen)
        return [each.ids for each in made]

    together = designs([0, 1, 2, 3])
    assert together != designs([0, 1, 2, 3], forbids=False)
    for place, ids in enumerate(together):
        assert designs([place]) == [ids]
        assert MASK not in ids and ids[2] == 4
        assert all(ids[position] not in each for position, each in forbidden[place].items())
    assert designs([3, 1]) == [together[3], together[1]]


class Watched(NoisyDenoiser):
    """Notes the latents of every call."""

    def logits_at(self, tokens, lengths, at, soft=None, latents=None):
        self.seen = [*getattr(self, "seen", []), latents]
        return super().logits_at(tokens, lengths, at, soft, latents)


@pytest.mark.parametrize("name", MASKED_SAMPLERS)
def test_a_sequence_keeps_its_latent_through_sampling(name: str, tmp_path: Path) -> None:
    model = load_denoiser(folder_of(noisy("sequence"), tmp_path))
    inner = build_predictor(model)
    network = Watched(model.denoiser, inner.noise)
    sampler = SAMPLERS[name].build(Predictor(network, FRAMED, inner.noise), model, {})
    steps = 4 if SAMPLERS[name].takes_steps else None
    sampler.sample(build_prior(ROWS[:1], [3], FRAMED, "cpu"), SampleSettings(steps=steps))
    assert len(network.seen) > 1
    assert all(torch.equal(each, network.seen[0][:1].expand_as(each)) for each in network.seen)


RATE = OptimizerSettings(lr=1e-2, warmup_steps=1)


def method_of(name: str, noise: NoiseSettings) -> DistilledStudent:
    reference = GroupedReference(tiny_corpus(50, low=3, high=8), FRAMED, 4, 512, 20, seed=1)
    if name == "didi":
        settings = DidiSettings(student=RATE, discriminator=RATE, noise=noise)
        return DidiInstruct(tiny_denoiser(1), FRAMED, reference, settings, seed=3)
    settings = DmmdSettings(student=RATE, auxiliary=RATE, noise=noise)
    return MomentMatching(tiny_denoiser(1), FRAMED, reference, settings, seed=3)


@pytest.mark.parametrize("kind", ["position", "sequence"])
@pytest.mark.parametrize("name", ["didi", "dmmd"])
def test_methods_begin_as_the_teacher_train_the_projection_and_resume(name: str, kind: str) -> None:
    method = method_of(name, NoiseSettings(kind, 6))
    method.setup(cpu_fabric())
    tokens, lengths = BATCH.tokens, BATCH.lengths
    teacher = method.teacher_log_probs(tokens, lengths, MASKED)
    assert torch.equal(method.student_predictor().log_probs(tokens, lengths, MASKED, KEYS), teacher)
    method.step(0, 4)
    saved = copy.deepcopy(method.state_dict())
    again = method_of(name, NoiseSettings(kind, 6))
    again.setup(cpu_fabric())
    again.load_state_dict(saved)
    for step in (1, 2):
        method.step(step, 4)
    projection = method.student.module.noise.projection.weight
    assert float(projection.detach().abs().max()) > 0, "a gradient reached it"
    assert float(method.result().noise.projection.weight.abs().max()) > 0, "and the average"
    for step in (1, 2):
        again.step(step, 4)
    pairs = zip(method.result().parameters(), again.result().parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_wrong_settings_are_named() -> None:
    for key, value in (("kind", "row"), ("size", 0), ("scale", -1.0)):
        with pytest.raises(UserError, match=rf"method.noise.{key}={value}"):
            method_settings({"name": "dmmd", "noise": {key: value}})
    wrong = r"method.group_deviation=row must be population or sample"
    with pytest.raises(UserError, match=wrong):
        method_settings({"name": "didi", "group_deviation": "row"})
