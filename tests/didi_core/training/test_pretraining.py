"""Pre-training: noise on an autoregressive model's inputs, and the loss that both kinds take."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_models import FRAMED, cpu_fabric, timed_esm, tiny_corpus, tiny_denoiser, whole_of
from torch import nn
from torch.nn import functional as F
from transformers import GPT2Config, GPT2LMHeadModel

from didi_core.data.corpus import CorpusBatches
from didi_core.diffusion.absorbing import AbsorbingProcess
from didi_core.diffusion.draws import Stream, keyed_uniform
from didi_core.diffusion.process import build_process
from didi_core.diffusion.schedules import LogLinearSchedule
from didi_core.distill.optimizers import OptimizerSettings
from didi_core.evaluation.masked_nll import row_bound
from didi_core.models.soft_tokens import SoftTokens
from didi_core.training.autoregressive_pretraining import AutoregressivePretraining
from didi_core.training.curricula import CurriculumSettings, GaussianSettings
from didi_core.training.diffusion_pretraining import DiffusionPretraining
from didi_core.training.gaussian_curriculum import GaussianCurriculum
from didi_core.training.pretraining import BatchShare

RATE = OptimizerSettings(lr=1e-2, warmup_steps=1)


def batches(num_sequences: int = 40, low: int = 3, high: int = 9) -> CorpusBatches:
    return CorpusBatches(tiny_corpus(num_sequences, low=low, high=high), FRAMED, 512, 64, seed=2)


def causal_model() -> nn.Module:
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=FRAMED.size, n_positions=64, n_embd=8, n_layer=1, n_head=2)
    return GPT2LMHeadModel(config).eval()


def pretraining(noise: float, data: CorpusBatches | None = None) -> AutoregressivePretraining:
    method = AutoregressivePretraining(causal_model(), data or batches(), RATE, 0.5, noise, seed=5)
    method.setup(cpu_fabric())
    return method


def share_of(data: CorpusBatches, records: Sequence[int], step: int) -> BatchShare:
    mine = np.array(records)
    return BatchShare(step, data.batch(mine, step), mine, np.arange(len(mine)), len(mine))


def changed_share(method: AutoregressivePretraining, share: BatchShare) -> torch.Tensor:
    changed = (method.noised(share) != share.batch.tokens).double()
    return changed.sum(-1) / share.batch.maskable.sum(-1)


def test_noise_is_keyed_by_record_and_step_and_not_by_the_batch() -> None:
    data = batches(low=9, high=9)
    method = pretraining(0.9, data)
    whole = method.noised(share_of(data, [0, 1, 2, 3], step=7))
    assert torch.equal(method.noised(share_of(data, [0, 1, 2, 3], step=7)), whole)
    assert torch.equal(method.noised(share_of(data, [2, 0], step=7)), whole[[2, 0]])
    assert not torch.equal(method.noised(share_of(data, [0, 1, 2, 3], step=8)), whole)


def test_each_row_s_share_of_noise_is_within_its_bounds() -> None:
    data = batches(400, low=50, high=50)
    share = share_of(data, list(range(400)), step=1)
    for largest in (0.3, 0.9):
        found = changed_share(pretraining(largest, data), share)
        # A third of the tokens drawn equal those replaced, so two thirds of the share show.
        assert abs(float(found.mean()) - largest / 2 * 2 / 3) < 0.02
        assert float(found.max()) < largest * 2 / 3 + 4 * (0.25 / 50) ** 0.5
        assert float(found.std()) > 0.25 * largest * 2 / 3, "rows differ in their share"


def test_only_tokens_of_the_sequence_become_others_of_its_kind() -> None:
    data = batches(low=3, high=9)
    share = share_of(data, list(range(40)), step=0)
    noised = pretraining(0.99, data).noised(share)
    fixed = ~share.batch.maskable
    assert torch.equal(noised[fixed], share.batch.tokens[fixed]), "framing and padding stay"
    assert set(noised[~fixed].tolist()) <= set(FRAMED.generable_ids)
    assert not torch.equal(noised, share.batch.tokens)


def test_the_targets_of_noised_inputs_are_clean() -> None:
    data = batches()
    method = pretraining(0.9, data)
    share = share_of(data, list(range(12)), step=3)
    total, (count,) = whole_of(method.total_loss(share))
    with torch.no_grad():
        log_probs = method.network.module(input_ids=method.noised(share)).logits.log_softmax(-1)
    batch, by_hand = share.batch, 0.0
    for row in range(12):
        for position in range(1, int(batch.lengths[row]) - 1):
            target = int(batch.tokens[row, position])
            by_hand -= float(log_probs[row, position - 1, target])
    assert abs(float(total.detach()) - by_hand) < 1e-3
    assert int(count) == int(batch.maskable.sum())


def test_without_noise_the_inputs_are_the_data_and_validation_is_always_clean() -> None:
    data = batches()
    plain, noisy = pretraining(0.0, data), pretraining(0.9, data)
    share = share_of(data, list(range(12)), step=3)
    logits = plain.network.module(input_ids=share.batch.tokens[:, :-1]).logits
    scored = share.batch.maskable[:, 1:]
    expected = F.cross_entropy(logits[scored], share.batch.tokens[:, 1:][scored], reduction="sum")
    assert torch.allclose(whole_of(plain.total_loss(share))[0], expected)
    assert float(whole_of(noisy.total_loss(share))[0].detach()) != float(expected.detach())
    assert plain.validation_loss(data) == noisy.validation_loss(data)


def test_one_step_of_either_kind_logs_its_loss_per_token_and_moves_the_network() -> None:
    data = batches()
    process = AbsorbingProcess(FRAMED.mask_id)
    masked = DiffusionPretraining(tiny_denoiser(1), data, process, RATE, 0.5, seed=5)
    masked.setup(cpu_fabric())
    for method in (pretraining(0.2, data), masked):
        share = share_of(data, data.records(0), step=0)
        total, (count,) = whole_of(method.total_loss(share))
        before = [p.clone() for p in method.result().parameters()]
        figures = method.step(0, 2)
        assert abs(figures["loss"] - float(total.detach()) / int(count)) < 1e-5
        after = method.result().parameters()
        assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_times_cover_their_range_and_do_not_follow_the_rows_of_a_batch() -> None:
    """Rows come sorted by width: times that ascended with them would depend on the length."""
    data = batches()
    method = DiffusionPretraining(
        tiny_denoiser(1), data, AbsorbingProcess(FRAMED.mask_id), RATE, 0.5, seed=5
    )
    shares = [share_of(data, list(range(12)), step) for step in range(200)]
    times = torch.stack([method.times(share) for share in shares])
    cells = (times * 12).floor().long().sort(dim=-1).values
    assert torch.equal(cells, torch.arange(12).expand(200, -1))
    assert float((times.mean(0) - 0.5).abs().max()) < 4 * (1 / 12) ** 0.5 / 200**0.5
    half = replace(shares[3], places=np.arange(6, 12))  # of another process
    assert torch.equal(method.times(half), times[3, 6:])


def test_the_loss_of_a_uniform_process_is_its_bound() -> None:
    """The share's sum, against `row_bound` at the same times and uniforms."""
    data = batches()
    network = timed_esm(4)
    process = build_process("uniform", FRAMED, LogLinearSchedule(1e-3))
    method = DiffusionPretraining(network, data, process, RATE, 0.5, seed=5)
    method.setup(cpu_fabric())
    share = share_of(data, list(range(12)), step=3)
    total, (count,) = whole_of(method.total_loss(share))
    record = torch.arange(12)[:, None]
    position = torch.arange(share.batch.tokens.shape[1])
    uniform = keyed_uniform(5, Stream.CORRUPT, record, position, 3)
    with torch.no_grad():
        times = method.times(share)
        expected = row_bound(network, FRAMED, process, share.batch, times, uniform, None)
    assert float(total.detach()) == pytest.approx(float(expected.sum()), rel=1e-5)
    assert int(count) == int(share.batch.maskable.sum())
    before = [p.clone() for p in method.result().parameters()]
    method.step(3, 4)
    after = dict(method.result().named_parameters())
    assert not torch.equal(before[0], next(iter(after.values())))
    gentle = CurriculumSettings(steps=9)
    start = DiffusionPretraining(network, data, process, RATE, 0.5, 5, gentle)
    start.setup(cpu_fabric())
    loss, (predicted,) = whole_of(start.total_loss(share))
    assert int(predicted) == int(count)
    times, at = start.times(share), share.batch.maskable
    assert 0.1 < float(times.min()) < float(times.max()) < 0.5
    noised, row, rank = start.corrupt(share, times)[1], at.nonzero()[:, 0], FRAMED.rank_of_id
    with torch.no_grad():
        alpha = process.schedule.alpha(times)
        logits = network.logits_at(noised, share.batch.lengths, at, alpha=alpha)
        columns = rank[share.batch.tokens[at]], rank[noised[at]], times[row]
        expected = process.denoising_terms(FRAMED.log_probs(logits), *columns).sum()
    assert float(loss.detach()) == pytest.approx(float(expected), rel=1e-5)


def test_the_gaussian_curriculum_at_temperature_zero_is_the_bound_of_its_tokens() -> None:
    """And what the network sees at a higher one is another input of the same bound."""
    data = batches()
    network = timed_esm(4)
    losses = {}
    for temperature, top_k in ((0.0, 0), (0.0, 1), (0.5, 0), (1e-7, 0)):
        gaussian = GaussianSettings(5, temperature, top_k)
        process = build_process("uniform", FRAMED)
        method = DiffusionPretraining(network, data, process, RATE, 0.5, 5, gaussian=gaussian)
        method.setup(cpu_fabric())
        share = share_of(data, list(range(12)), step=3)
        losses[temperature, top_k] = float(whole_of(method.total_loss(share))[0].detach())
        its, noised, soft = method.corrupt(share, method.times(share))
        at, t = share.batch.maskable, method.times(share)
        assert bool((noised[~at] == share.batch.tokens[~at]).all())
        assert soft.probabilities.shape == (int(at.sum()), 2 if top_k else 3)
        with torch.no_grad():
            alpha = its.schedule.alpha(t)
            logits = network.logits_at(noised, share.batch.lengths, at, alpha=alpha)
        rank = FRAMED.rank_of_id
        row = at.nonzero()[:, 0]
        columns = (rank[share.batch.tokens[at]], rank[noised[at]], t[row])
        expected = float(its.bound_terms(FRAMED.log_probs(logits), *columns).sum())
        if temperature == 0:
            assert losses[temperature, top_k] == pytest.approx(expected, rel=1e-5)
        plain = method.corrupt(share_of(data, [0], step=5), torch.tensor([0.5]))
        assert plain[0] is process and plain[2] is None, "after its steps the plain bound"
    assert losses[1e-7, 0] == pytest.approx(losses[0.0, 0], rel=1e-4)
    assert abs(losses[0.5, 0] - losses[0.0, 0]) > 1e-3 * losses[0.0, 0]


def test_soft_entries_of_named_ids_are_those_of_the_whole_vocabulary() -> None:
    data = batches()
    share = share_of(data, [0, 1], step=0)
    method = GaussianCurriculum(GaussianSettings(1, 0.7, 0), FRAMED, seed=1)
    noised, soft = method.corrupt(share.batch, torch.tensor([0.3, 0.7]), share.records, step=0)
    dense = torch.zeros(len(soft.probabilities), FRAMED.size, dtype=torch.float64)
    whole = SoftTokens(soft.at, dense.scatter(-1, soft.ids, soft.probabilities))
    network = timed_esm(2)
    where = (noised, share.batch.lengths, soft.at)
    alpha = torch.tensor([0.3, 0.7])
    with torch.no_grad():
        found, expected = (network.logits_at(*where, s, alpha=alpha) for s in (soft, whole))
    torch.testing.assert_close(found, expected)
