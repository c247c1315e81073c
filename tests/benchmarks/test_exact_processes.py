"""Processes with known likelihood: against brute-force enumeration, and draws against the law."""

import itertools
import math

import numpy as np
import pytest

from benchmarks.exact.paired_families import PairedFamilies
from benchmarks.exact.process import UNKNOWN, ExactProcess
from benchmarks.exact.profile_families import Indels, ProfileFamilies

INDELS = Indels(open_insertion=0.2, extend_insertion=0.3, open_deletion=0.25, extend_deletion=0.35)


def tiny_profiles(max_length: int = 3) -> ProfileFamilies:
    return ProfileFamilies(
        num_families=2,
        columns=(2, 3),
        conserved=0.0,
        indels=INDELS,
        num_tokens=2,
        max_length=max_length,
        seed=3,
    )


def tiny_pairs() -> PairedFamilies:
    return PairedFamilies(
        num_families=2,
        columns=(3, 3),
        pairs=(1, 1),
        least_range=2,
        tail=1,
        noise=0.3,
        num_tokens=3,
        max_length=5,
        seed=4,
    )


def all_sequences(num_tokens: int, length: int) -> list[np.ndarray]:
    return [np.array(each) for each in itertools.product(range(num_tokens), repeat=length)]


def profile_law(process: ProfileFamilies, family: int, sequence: tuple[int, ...]) -> float:
    """p(sequence | family) by walking every path through match, insert and delete states."""
    model = process.models[family]
    columns = len(model.end) // 2
    matches, inserted = model.emission[:columns], model.emission[columns]

    def walk(kind: str, column: int, rest: tuple[int, ...]) -> float:
        """Chance of emitting `rest` from this state on; deletions and the end emit nothing."""
        if kind == "insert":
            stay, leave = INDELS.extend_insertion, 1 - INDELS.extend_insertion
            total = leave * forward(column, rest)
        elif kind == "delete":
            stay, total = 0.0, (1 - INDELS.extend_deletion) * forward(column, rest)
            if column < columns:
                total += INDELS.extend_deletion * walk("delete", column + 1, rest)
            else:
                total = forward(column, rest)
        else:
            skip = INDELS.open_deletion if column < columns else 0.0
            stay = INDELS.open_insertion
            total = (1 - stay - skip) * forward(column, rest)
            if skip:
                total += skip * walk("delete", column + 1, rest)
        if stay and rest:
            total += stay * inserted[rest[0]] * walk("insert", column, rest[1:])
        return total

    def forward(column: int, rest: tuple[int, ...]) -> float:
        """On to the next column's match, or to the end after the last."""
        if column == columns:
            return float(not rest)
        if not rest:
            return 0.0
        return matches[column, rest[0]] * walk("match", column + 1, rest[1:])

    return walk("match", 0, sequence)


def pair_law(process: PairedFamilies, family: int, sequence: tuple[int, ...]) -> float:
    """p(sequence, tails | family), summed over where the core lies."""
    core, chances = process.cores[family], process.background
    ((first, second),) = core.pairs
    total = 0.0
    for start in range(process.tail + 1):
        after = len(sequence) - start - len(core.columns)
        if not 0 <= after <= process.tail:
            continue
        chance = 1 / (process.tail + 1) ** 2
        for place, token in enumerate(sequence):
            column = place - start
            if not 0 <= column < len(core.columns):
                chance *= chances[token]
            elif column == second:
                matched = process.partner[sequence[start + first]] == token
                chance *= (1 - process.noise) * matched + process.noise * chances[token]
            else:
                chance *= core.columns[column, token]
        total += chance
    return total


def enumerated(process: ExactProcess) -> dict[tuple[int, ...], np.ndarray]:
    """p(sequence, family) for every sequence up to the longest, cut and normalised there."""
    law = profile_law if isinstance(process, ProfileFamilies) else pair_law
    table = {
        tuple(each.tolist()): np.array(
            [
                process.weights[family] * law(process, family, tuple(each.tolist()))
                for family in range(process.num_families)
            ]
        )
        for length in range(1, process.max_length + 1)
        for each in all_sequences(process.num_tokens, length)
    }
    total = sum(table.values()).sum()
    return {sequence: each / total for sequence, each in table.items() if each.sum() > 0}


PROCESSES = pytest.mark.parametrize(
    "process", [tiny_profiles(), tiny_pairs()], ids=lambda p: p.name
)


@PROCESSES
def test_likelihood_lengths_and_families_equal_the_enumeration(process: ExactProcess) -> None:
    law = enumerated(process)
    sequences = [np.array(each) for each in law]
    joint = np.stack(list(law.values()))
    lengths = np.array([len(each) for each in sequences])
    of_length = np.array([joint[lengths == length].sum() for length in range(lengths.max() + 1)])
    expected = np.log(joint.sum(-1) / of_length[lengths])
    assert process.log_prob(sequences) == pytest.approx(expected, abs=1e-10)
    assert np.exp(process.length_log_prob) == pytest.approx(of_length, abs=1e-12)
    assert process.family_prior == pytest.approx(joint.sum(0), abs=1e-12)
    posterior = joint / joint.sum(-1, keepdims=True)
    assert process.family_posterior(sequences) == pytest.approx(posterior, abs=1e-10)


@PROCESSES
def test_conditionals_equal_the_enumeration_in_every_state(process: ExactProcess) -> None:
    law = enumerated(process)
    length = 3
    sequences = [each for each in law if len(each) == length]
    chance = np.array([law[each].sum() for each in sequences])
    tokens = np.array(sequences)
    for state in itertools.product(range(-1, process.num_tokens), repeat=length):
        known = np.array(state)
        fits = ((known == UNKNOWN) | (tokens == known)).all(-1)
        expected = np.stack(
            [
                np.bincount(tokens[fits, place], chance[fits], process.num_tokens)
                for place in range(length)
            ]
        )
        expected /= chance[fits].sum()
        assert process.conditionals(known[None])[0] == pytest.approx(expected, abs=1e-10)


@PROCESSES
def test_draws_follow_the_likelihood(process: ExactProcess) -> None:
    count = 20_000
    draws = process.sample(count, seed=5)
    law = {each: chance.sum() for each, chance in enumerated(process).items()}
    counts = dict.fromkeys(law, 0)
    for sequence in draws.sequences:
        counts[tuple(sequence.tolist())] += 1
    common = {each: chance for each, chance in law.items() if chance * count > 5}
    rare = 1 - sum(common.values())
    seen = sum(counts[each] for each in common)
    terms = [(counts[e] - count * p) ** 2 / (count * p) for e, p in common.items()]
    if rare * count > 5:
        terms.append((count - seen - count * rare) ** 2 / (count * rare))
    freedom = len(terms) - 1
    # Wilson-Hilferty: the cube root of chi-square over its freedom is nearly normal.
    deviate = (sum(terms) / freedom) ** (1 / 3) - (1 - 2 / (9 * freedom))
    assert abs(deviate / math.sqrt(2 / (9 * freedom))) < 3.3
    shares = np.bincount(draws.families, minlength=2) / count
    assert shares == pytest.approx(process.family_prior, abs=0.01)


def test_the_chi_square_would_notice_another_process() -> None:
    """Negative control: draws of a process with other columns are far from this one's law."""
    other = ProfileFamilies(2, (2, 3), 0.0, INDELS, num_tokens=2, max_length=3, seed=7)
    process, draws = tiny_profiles(), other.sample(5_000, seed=5)
    own = process.sample(5_000, seed=5)
    assert abs(
        process.log_prob(draws.sequences).mean() - process.log_prob(own.sequences).mean()
    ) > (0.02)


def test_broken_pairs_by_hand_and_in_the_mean() -> None:
    process = tiny_pairs()
    law = enumerated(process)
    sequences = [np.array(each) for each in law]
    share = process.broken_share(sequences)
    chance = np.array([each.sum() for each in law.values()])
    assert (share * chance).sum() == pytest.approx(process.true_broken_share, abs=1e-10)
    core = process.cores[0]
    ((first, second),) = core.pairs
    whole = np.zeros(3, int)
    whole[second] = process.partner[whole[first]]
    placed = process.broken_share([whole])  # length 3: both tails are empty, one place a family
    posterior = process.family_posterior([whole])[0]
    ((one, two),) = process.cores[1].pairs
    broken_elsewhere = process.partner[whole[one]] != whole[two]
    assert placed[0] == pytest.approx(posterior[1] * broken_elsewhere)


def test_real_sizes_are_protein_like_and_the_seed_fixes_them() -> None:
    for build in (ProfileFamilies, PairedFamilies):
        process, again = build(), build()
        draws = process.sample(64, seed=1)
        assert 8 <= process.num_families <= 20
        assert max(draws.lengths) <= 64
        assert len(set(draws.lengths.tolist())) > 10
        assert np.exp(process.length_log_prob).sum() == pytest.approx(1)
        assert [a.tolist() for a in draws.sequences] == [
            b.tolist() for b in again.sample(64, seed=1).sequences
        ]
        assert np.isfinite(process.log_prob(draws.sequences)).all()


def test_any_sequence_of_a_known_length_has_a_likelihood_and_others_are_refused() -> None:
    process = PairedFamilies()
    junk = [np.zeros(36, int), np.arange(40) % 20]
    assert np.isfinite(process.log_prob(junk)).all()
    with pytest.raises(ValueError, match="no sequence of length 3"):
        process.log_prob([np.zeros(3, int)])
    with pytest.raises(ValueError, match="past 30"):
        PairedFamilies(max_length=30)
    with pytest.raises(ValueError, match="do not fit"):
        PairedFamilies(columns=(10, 10))


def test_long_chains_neither_underflow_nor_depend_on_their_batch() -> None:
    process = ProfileFamilies(num_families=2)
    sequences = process.sample(20, seed=2).sequences
    together = process.log_prob(sequences)
    alone = np.concatenate([process.log_prob([each]) for each in sequences])
    assert together == pytest.approx(alone, abs=1e-9)
    sequence = sequences[0][None]
    chain = [
        math.log(process.conditionals(_revealed(sequence, place))[0, place, token])
        for place, token in enumerate(sequences[0])
    ]
    assert math.fsum(chain) == pytest.approx(alone[0], abs=1e-8)


def _revealed(states: np.ndarray, count: int) -> np.ndarray:
    """The first `count` positions known, the rest not."""
    return np.where(np.arange(states.shape[1]) < count, states, UNKNOWN)
