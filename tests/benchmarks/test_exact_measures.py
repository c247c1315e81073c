"""Measures, factorisation bound and exact predictor: against enumeration on tiny processes."""

import itertools
import math

import numpy as np
import pytest
import torch
from test_exact_processes import all_sequences, tiny_pairs, tiny_profiles

from benchmarks.exact.exact_predictor import ExactPredictor
from benchmarks.exact.factorisation import step_cross_entropy, step_loss
from benchmarks.exact.measures import absolute, kl, measure_samples, total_variation, truth_of
from benchmarks.exact.paired_families import PairedFamilies
from benchmarks.exact.process import UNKNOWN, ExactProcess, by_length
from didi_core.data.vocabulary import Vocabulary
from didi_core.evaluation.bootstrap import Interval
from didi_core.sampling.ancestral import ancestral, first_hitting
from didi_core.sampling.filling import build_prior
from didi_core.sampling.request import SampleSettings


def small_pairs() -> PairedFamilies:
    return PairedFamilies(
        num_families=3, columns=(8, 9), pairs=(2, 2), least_range=3, tail=1, max_length=16, seed=4
    )


def test_truth_is_the_enumerated_entropy() -> None:
    process = tiny_profiles()
    total, residues = 0.0, 0.0
    for length in range(1, process.max_length + 1):
        chance = math.exp(process.length_log_prob[length])
        log_prob = process.log_prob(all_sequences(process.num_tokens, length))
        total -= chance * (np.exp(log_prob) * log_prob).sum()
        residues += chance * length
    truth = truth_of(process, 20_000)
    assert abs(truth.entropy - total / residues) < 3.5 * truth.entropy_standard_error
    assert truth.entropy_standard_error < 0.01
    assert truth.broken_share is None


def test_the_process_s_own_draws_pass_and_others_do_not() -> None:
    process = small_pairs()
    truth = truth_of(process, 8_000)
    own = measure_samples(process, truth, process.sample(1_500, seed=9).sequences)
    assert own["signed_gap"]["low"] < 0 < own["signed_gap"]["high"]
    assert own["gap"]["low"] == 0
    assert own["family_tv"]["low"] <= 0.02 and own["family_kl"]["low"] <= 1e-3
    assert own["broken_above_true"]["low"] < 0 < own["broken_above_true"]["high"]
    floor = own["kmer_distance"]["natural_versus_natural"]["mean"]
    assert own["kmer_distance"]["distance"]["mean"] == pytest.approx(floor, rel=0.2)
    # One family alone, and pairs drawn apart from each other: each figure sees its own fault.
    draws = process.sample(1_500, seed=9)
    one = [s for s, family in zip(draws.sequences, draws.families, strict=True) if family == 0]
    alone = measure_samples(process, truth, one)
    assert alone["family_tv"]["low"] > 0.3 and alone["family_kl"]["low"] > 0.3
    shuffled = [np.roll(s, 1) for s in draws.sequences]
    broken = measure_samples(process, truth, shuffled)
    assert broken["gap"]["low"] > 0.3 and broken["broken_above_true"]["low"] > 0.3


def test_figures_by_hand() -> None:
    prior = np.array([0.5, 0.5])
    assert total_variation(np.array([1.0, 0.0]), prior) == pytest.approx(0.5)
    assert kl(np.array([1.0, 0.0]), prior) == pytest.approx(math.log(2))
    assert kl(prior, prior) == 0
    assert absolute(Interval(-0.2, -0.3, 0.1)) == Interval(0.2, 0.0, 0.3)
    assert absolute(Interval(-0.2, -0.3, -0.1)) == Interval(0.2, 0.1, 0.3)


@pytest.mark.parametrize("process", [tiny_profiles(), tiny_pairs()], ids=lambda p: p.name)
def test_bound_equals_the_enumerated_divergence(process: ExactProcess) -> None:
    """E over plans of KL(p || product over steps), every sequence and plan summed by hand."""
    steps, expected, residues = 2, 0.0, 0.0
    for length in range(1, process.max_length + 1):
        chance = math.exp(process.length_log_prob[length])
        if not chance:
            continue
        tokens = np.stack(all_sequences(process.num_tokens, length))
        log_prob = process.log_prob(list(tokens))
        residues += chance * length
        for plan in itertools.product(range(steps), repeat=length):
            repeated = np.tile(plan, (len(tokens), 1))
            cross = step_cross_entropy(process, tokens, repeated, steps).sum(-1)
            by_hand = [
                -sum(
                    math.log(
                        process.conditionals(
                            np.where(np.array(plan) < plan[i], row, UNKNOWN)[None]
                        )[0, i, row[i]]
                    )
                    for i in range(length)
                )
                for row in tokens[:2]
            ]
            assert cross[:2] == pytest.approx(by_hand)
            expected += chance * (np.exp(log_prob) * (cross + log_prob)).sum() / steps**length
    found = step_loss(process, steps, 3_000, seed=3)
    assert found.loss["low"] - 0.01 < expected / residues < found.loss["high"] + 0.01
    assert found.loss["mean"] == pytest.approx(expected / residues, rel=0.15, abs=1e-3)


def test_more_steps_lose_less_and_late_revealing_grids_bend_it() -> None:
    process = small_pairs()
    losses = [step_loss(process, steps, 300).loss["mean"] for steps in (1, 4, 64)]
    assert losses[0] > 2 * losses[1] > 4 * losses[2] > 0
    even, late = (step_loss(process, 4, 300, exponent) for exponent in (1.0, 2.0))
    assert late.by_step[0] < even.by_step[0]  # fewer positions in the first step


def toy_vocabulary(size: int) -> Vocabulary:
    return Vocabulary(
        tokens=("<s>", "</s>", *"abcdefghijklmnopqrstuvwxyz"[:size], "<m>", "<p>"),
        mask_id=size + 2,
        pad_id=size + 3,
        bos_id=0,
        eos_id=1,
        generable_ids=tuple(range(2, size + 2)),
    )


def test_exact_predictor_drives_the_samplers_to_the_law() -> None:
    """One token a call reaches the process; one step for all breaks its pairs."""
    process = small_pairs()
    vocabulary = toy_vocabulary(process.num_tokens)
    predictor = ExactPredictor(process, vocabulary)
    lengths = process.sample(400, seed=1).lengths
    rows = [vocabulary.frame([vocabulary.mask_id] * int(length)) for length in lengths]
    prior = build_prior(rows, range(len(rows)), vocabulary, "cpu")
    excess = {}
    for steps in (None, 1):
        sampler = first_hitting(predictor) if steps is None else ancestral(predictor)
        tokens = sampler.sample(prior, SampleSettings(steps=steps)).tokens
        ranks = vocabulary.rank_of_id[tokens].numpy()
        made = [row[1 : 1 + length] for row, length in zip(ranks, lengths, strict=True)]
        excess[steps] = process.broken_share(made).mean() - process.true_broken_share
        nll = -process.log_prob(made)
        assert len(nll) == 400
    assert abs(excess[None]) < 0.04
    assert excess[1] > 0.5


def test_exact_predictor_gives_rows_in_row_major_order() -> None:
    process = small_pairs()
    vocabulary = toy_vocabulary(process.num_tokens)
    draws = process.sample(6, seed=2).sequences
    rows = [vocabulary.frame((each + 2).tolist()) for each in draws]
    for row in rows:
        row[2] = row[5] = vocabulary.mask_id
    prior = build_prior(rows, range(6), vocabulary, "cpu")
    predictor = ExactPredictor(process, vocabulary)
    found = predictor.log_probs(prior.batch.tokens, prior.batch.lengths, prior.batch.maskable)
    for record, tokens in by_length(draws):
        masked = tokens.copy()
        masked[:, [1, 4]] = UNKNOWN
        expected = torch.from_numpy(process.conditionals(masked)).log()
        for place, row in enumerate(record):
            assert torch.allclose(found[2 * row : 2 * row + 2], expected[place, [1, 4]])
