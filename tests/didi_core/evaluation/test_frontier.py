"""The frontier on sets whose curve is known, for 'proteins' and 'text' by one function."""

import json
import math
import os

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import GPT2Config, GPT2LMHeadModel

from didi_core.evaluation.bootstrap import bootstrap_mean
from didi_core.evaluation.entropy import pooled_kmer_entropy
from didi_core.evaluation.frontier import (
    Frontier,
    FrontierPoint,
    Level,
    causal_judge,
    difference_at,
    find_crossings,
    interval_of,
    ngrams_at,
    nll_at,
    temperature_at,
    trace_frontier,
)
from didi_core.evaluation.frontier_plot import plot_frontiers
from didi_core.evaluation.frontier_record import frontier_record, write_frontiers
from didi_core.evaluation.judge import causal_nll
from didi_core.evaluation.ratio import (
    MeanUnigramEntropy,
    PooledKmerEntropy,
    Ratio,
    resample_counts,
)

LAW = np.array([0.6, 0.25, 0.1, 0.05])


def tempered(temperature: float) -> np.ndarray:
    weights = LAW ** (1 / temperature)
    return weights / weights.sum()


def judge(sequences) -> Ratio:
    """NLL under LAW, a mean over sequences of nats a token."""
    return Ratio.mean_of([-np.log(LAW[np.asarray(each)]).mean() for each in sequences])


def drawer(law_at, seed: int = 0, count: int = 300):
    """Draws a set at a temperature; record i uses the same uniforms at every temperature."""
    generator = np.random.default_rng(seed)
    uniforms = [generator.random(length) for length in generator.integers(20, 40, count)]

    def draw(temperature: float):
        cumulative = law_at(temperature).cumsum()
        return [np.searchsorted(cumulative, u).clip(max=3).tolist() for u in uniforms]

    return draw


def constant(values: list[tuple[float, float]], count: int = 4) -> Frontier:
    """A frontier without spread through (diversity, NLL) points."""
    points = [
        FrontierPoint(float(i), Ratio.mean_of([nll] * count), Ratio.mean_of([diversity] * count))
        for i, (diversity, nll) in enumerate(values)
    ]
    return Frontier("constant", tuple(points))


def at_temperatures(
    points: dict[float, tuple[float, float]], ngrams: tuple[float, ...] = (), count: int = 4
) -> Frontier:
    """A frontier without spread of (diversity, NLL) by temperature."""
    found = [
        FrontierPoint(
            temperature,
            Ratio.mean_of([nll] * count),
            Ratio.mean_of([diversity] * count),
            Ratio.mean_of([ngrams[number]] * count) if ngrams else None,
        )
        for number, (temperature, (diversity, nll)) in enumerate(points.items())
    ]
    return Frontier("constant", tuple(found))


def read_by_hand(level: float, diversities: list[float], nlls: list[float], anchor: float = 1.0):
    """NLL and temperature where the curve over temperatures 0.5, 1, 1.5, ... passes `level`."""
    temperatures = 0.5 + 0.5 * np.arange(len(nlls))
    found = find_crossings(temperatures, np.array([diversities]), np.array([level]), anchor)
    return float(found.read(np.array([nlls]))[0]), float(found.temperatures[0])


@pytest.mark.parametrize(
    ("level", "nll", "temperature"),
    [
        (1.5, 4.0, 0.75),
        (3.0, 5.5, 1.25),
        (2.0, 5.0, 1.0),
        (5.0, 6.5, 1.75),  # beyond the ends the curve goes on straight
        (0.5, 2.0, 0.25),
    ],
)
def test_a_rising_curve_is_straight_between_its_sets(level, nll, temperature):
    assert read_by_hand(level, [1.0, 2.0, 4.0], [3.0, 5.0, 6.0]) == pytest.approx(
        (nll, temperature)
    )


@pytest.mark.parametrize(
    ("level", "anchor", "nll", "temperature"),
    [
        # 1, 3, 2, 4 at 0.5, 1, 1.5, 2: 2.5 is passed at 0.875, 1.25 and 1.625.
        (2.5, 1.0, 1.75, 0.875),
        (2.5, 1.2, 2.5, 1.25),
        (2.5, 2.0, 3.25, 1.625),
        (1.5, 2.0, 1.25, 0.625),  # once only, wherever it is looked for
        (3.5, 0.5, 3.75, 1.875),
    ],
)
def test_a_curve_that_turns_is_followed_along_its_temperatures(level, anchor, nll, temperature):
    """Sorted by diversity its sets would be 1, 2, 3, 4 with NLL 1, 3, 2, 4: a zigzag."""
    found = read_by_hand(level, [1.0, 3.0, 2.0, 4.0], [1.0, 2.0, 3.0, 4.0], anchor)
    assert found == pytest.approx((nll, temperature))


def test_flat_stretches_and_levels_that_no_straight_end_meets():
    flat = [1.0, 2.0, 2.0, 3.0], [1.0, 2.0, 4.0, 5.0]
    assert read_by_hand(2.0, *flat, anchor=1.2) == pytest.approx((2.8, 1.2))
    assert read_by_hand(2.0, *flat, anchor=0.1) == pytest.approx((2.0, 1.0))
    peak = [1.0, 3.0, 1.0], [1.0, 2.0, 3.0]
    assert read_by_hand(3.5, *peak) == (2.0, 1.0), "the set nearest in diversity"
    assert read_by_hand(0.0, *peak) == pytest.approx((0.5, 0.25)), "of two ends that nearer to 1"


@settings(max_examples=int(os.environ.get("DIDI_FUZZ_CASES", 100)), deadline=None)
@given(st.data())
def test_where_a_curve_is_read_its_diversity_is_the_level(data):
    """Any curve, turning or not, and any level between its ends: no nearer crossing exists."""
    # Whole numbers over 100: floats are not drawn where a library flushes the smallest to zero.
    numbers = st.integers(0, 1_000).map(lambda x: x / 100)
    steps = st.integers(10, 100).map(lambda x: x / 100)
    diversities = np.array([data.draw(st.lists(numbers, min_size=2, max_size=6))])
    count = diversities.shape[1]
    temperatures = np.cumsum(data.draw(st.lists(steps, min_size=count, max_size=count)))
    share = data.draw(st.integers(0, 100)) / 100
    level = diversities.min() + share * np.ptp(diversities)
    anchor = data.draw(st.integers(0, 500)) / 100
    found = find_crossings(temperatures, diversities, np.array([level]), anchor)
    assert found.read(diversities)[0] == pytest.approx(level, abs=1e-6)
    grid = np.linspace(temperatures[0], temperatures[-1], 500)
    nearer = grid[np.abs(grid - anchor) < abs(found.temperatures[0] - anchor) - 1e-6]
    side = np.sign(np.interp(nearer, temperatures, diversities[0]) - level)
    assert len(nearer) == 0 or not (side[0] * side < 0).any()


def test_a_curve_is_not_read_where_the_sweep_does_not_reach():
    frontier = constant([(1.0, 3.0), (2.0, 5.0)])
    assert nll_at(frontier, 1.5).mean == pytest.approx(4.0)
    assert nll_at(frontier, 0.9) is None
    assert nll_at(frontier, 2.1) is None
    assert difference_at(frontier, constant([(2.0, 1.0), (3.0, 1.0)]), 1.5) is None


def test_of_several_crossings_that_nearest_to_temperature_1_counts():
    turning = at_temperatures({0.6: (1.0, 1.0), 0.9: (3.0, 2.0), 1.2: (2.0, 3.0), 1.5: (4.0, 4.0)})
    assert temperature_at(turning, 2.5) == pytest.approx(1.05)
    assert nll_at(turning, 2.5).mean == pytest.approx(2.5)
    assert temperature_at(turning, 4.5) is None and nll_at(turning, 0.5) is None


def test_equal_ngrams_are_read_on_the_same_sets():
    """2-gram entropy falls where unigram entropy rises: the two orders of the curves differ."""
    points = {0.5: (1.0, 3.0), 1.0: (2.0, 5.0)}
    first = at_temperatures(points, ngrams=(9.0, 8.0))
    second = at_temperatures({0.5: (1.0, 3.5), 1.0: (2.0, 4.5)}, ngrams=(9.0, 8.5))
    assert ngrams_at(first, 1.5).mean == pytest.approx(8.5)
    assert nll_at(first.over_ngrams, 8.5).mean == pytest.approx(4.0)
    level = Level(1.5, "by hand", 8.5)
    found = frontier_record([first, second], level, "constant")["frontiers"]["constant"]
    assert found["ngrams_at_equal_diversity"]["mean"] == pytest.approx(8.75)
    assert found["at_equal_ngrams"]["nll"]["mean"] == pytest.approx(4.5)
    assert ngrams_at(at_temperatures(points), 1.5) is None


def natural(spread: float, count: int = 200) -> Ratio:
    """Natural data of mean diversity 1.5 whose records vary by `spread`."""
    deviations = np.random.default_rng(1).normal(size=count)
    return Ratio.mean_of(1.5 + spread * (deviations - deviations.mean()))


def test_the_interval_holds_what_natural_data_leave_open():
    """Curves without spread: all of the interval is the reference's, slope 2 nats a nat."""
    curve = at_temperatures({0.5: (1.0, 3.0), 1.0: (2.0, 5.0)})
    widths = []
    for spread in (0.0, 0.2, 0.4):
        found = nll_at(curve, natural(spread))
        assert found.mean == pytest.approx(4.0)
        widths.append(found.high - found.low)
    assert widths[0] == pytest.approx(0.0, abs=1e-9)
    known = 2 * 2 * 1.96 * 0.2 / math.sqrt(200)  # both sides, slope 2, standard error of the mean
    assert widths[1:] == pytest.approx([known, 2 * known], rel=0.15)
    assert nll_at(curve, 1.5).high == pytest.approx(4.0), "a number is taken as exact"


def test_a_difference_takes_one_natural_diversity_for_both_curves():
    """Parallel curves differ by as much wherever they are read; others do not."""
    one = at_temperatures({0.5: (1.0, 3.0), 1.0: (2.0, 5.0)})
    parallel = at_temperatures({0.5: (1.0, 4.0), 1.0: (2.0, 6.0)})
    flatter = at_temperatures({0.5: (1.0, 3.5), 1.0: (2.0, 4.5)})
    same = difference_at(parallel, one, natural(0.4))
    assert (same.low, same.high) == pytest.approx((1.0, 1.0))
    other = difference_at(flatter, one, natural(0.4))
    alone = nll_at(one, natural(0.4))
    assert other.high - other.low == pytest.approx((alone.high - alone.low) / 2)


def test_figures_without_spread_have_intervals_without_width():
    interval = nll_at(constant([(1.0, 3.0), (2.0, 5.0)]), 1.25)
    assert interval.as_dict() == pytest.approx({"mean": 3.5, "low": 3.5, "high": 3.5})


def test_equal_diversity_sees_through_a_temperature():
    """A model that only sharpens looks better at temperature 1 and is equal at equal diversity."""
    honest = trace_frontier(
        "honest", drawer(tempered), [0.6, 0.8, 1.0], judge, MeanUnigramEntropy()
    )
    sharp = trace_frontier(
        "sharp",
        drawer(lambda t: tempered(0.7 * t), seed=1),
        [0.8, 1.1, 1.5],
        judge,
        MeanUnigramEntropy(),
    )
    assert sharp.points[0].nll.value < honest.points[-1].nll.value - 0.2
    low = max(honest.diversity_range[0], sharp.diversity_range[0])
    high = min(honest.diversity_range[1], sharp.diversity_range[1])
    difference = difference_at(sharp, honest, (low + high) / 2)
    assert difference.low < 0.02 and difference.high > -0.02
    assert abs(difference.mean) < 0.03


def test_a_worse_model_is_worse_at_equal_diversity():
    """Tokens replaced at random raise NLL at any diversity: the interval excludes zero."""

    def noisy(temperature: float) -> np.ndarray:
        return 0.7 * tempered(0.5 * temperature) + 0.3 * LAW[::-1]

    good = trace_frontier("good", drawer(tempered), [0.5, 0.8, 1.2], judge, MeanUnigramEntropy())
    bad = trace_frontier("bad", drawer(noisy), [0.5, 1.0, 1.5], judge, MeanUnigramEntropy())
    at = np.mean(
        [
            max(good.diversity_range[0], bad.diversity_range[0]),
            min(good.diversity_range[1], bad.diversity_range[1]),
        ]
    )
    assert difference_at(bad, good, float(at)).low > 0.05


def test_pairing_narrows_the_difference():
    """Two models that share their random numbers: resampled apart, the interval is wider."""
    one = trace_frontier("one", drawer(tempered), [0.6, 1.0], judge, MeanUnigramEntropy())
    two = trace_frontier(
        "two", drawer(lambda t: tempered(1.02 * t)), [0.6, 1.0], judge, MeanUnigramEntropy()
    )
    at = sum(two.diversity_range) / 2
    paired = difference_at(one, two, at)
    cut = Frontier(
        "cut",
        tuple(
            FrontierPoint(
                p.temperature,
                Ratio(p.nll.numerators[:-1], p.nll.denominators[:-1]),
                Ratio(p.diversity.numerators[:-1], p.diversity.denominators[:-1]),
            )
            for p in two.points
        ),
    )
    apart = difference_at(one, cut, at)
    assert paired.high - paired.low < 0.8 * (apart.high - apart.low)


def test_ratios_and_resamples():
    ratio = Ratio(np.array([10.0, 0.0]), np.array([1.0, 9.0]))
    assert ratio.value == 1.0
    counts = np.array([[2, 0], [1, 1], [0, 2]])
    assert ratio.resampled(counts) == pytest.approx([10.0, 1.0, 0.0])
    chunks = list(resample_counts(7, seed=1, num_resamples=50))
    assert np.concatenate(chunks).sum(-1).tolist() == [7] * 50
    values = np.random.default_rng(0).normal(size=200)
    ours, theirs = interval_of(Ratio.mean_of(values)), bootstrap_mean(values)
    assert ours.mean == pytest.approx(theirs.mean)
    assert ours.low == pytest.approx(theirs.low, abs=0.03)


def test_diversity_measures_are_those_of_the_package():
    sequences = [[0, 1, 0, 2], [0, 1, 1, 3, 3], [1]]
    pooled = PooledKmerEntropy(2, 4)(sequences)
    assert pooled.value == pytest.approx(pooled_kmer_entropy(sequences, 2, 4).mean)
    assert len(pooled) == 3
    assert MeanUnigramEntropy()([[0, 0], [0, 1]]).value == pytest.approx(math.log(2) / 2)


@pytest.mark.parametrize("diversity", [PooledKmerEntropy(3, 4), MeanUnigramEntropy()])
def test_one_function_for_proteins_and_text_writes_json_and_plot(tmp_path, diversity):
    teacher = trace_frontier(
        "teacher", drawer(tempered, count=60), [0.7, 1.0], judge, diversity, {"steps": 64}
    )
    student = trace_frontier(
        "student", drawer(lambda t: tempered(0.9 * t), count=60), [0.7, 1.1], judge, diversity
    )
    at = teacher.points[-1].diversity.value
    record = frontier_record([teacher, student], Level(at), baseline="teacher")
    write_frontiers(tmp_path / "frontier.json", record)
    stored = json.loads((tmp_path / "frontier.json").read_text())
    assert stored["frontiers"]["teacher"]["settings"] == {"steps": 64}
    assert stored["frontiers"]["teacher"]["minus_baseline"] == {"mean": 0, "low": 0, "high": 0}
    own = stored["frontiers"]["teacher"]["nll_at_equal_diversity"]
    assert own["mean"] == pytest.approx(teacher.points[-1].nll.value)
    assert stored["frontiers"]["student"]["n"] == 60
    plot_frontiers(stored, tmp_path / "frontier.svg", diversity.label, {"data": (1.0, 1.0)})
    drawing = (tmp_path / "frontier.svg").read_text()
    assert drawing.rstrip().endswith("</svg>") and len(drawing) > 5_000


def test_an_autoregressive_judge_is_a_measure():
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=9, n_positions=32, n_embd=16, n_layer=1, n_head=2, bos_token_id=8, eos_token_id=8
    )
    model, sequences = GPT2LMHeadModel(config).eval(), [[0, 1, 2], [3, 3, 3, 3], [7]]
    ratio = causal_judge(model, bos_id=8)(sequences)
    nll = causal_nll(model, sequences, bos_id=8)
    assert ratio.numerators == pytest.approx(nll) and ratio.value == pytest.approx(nll.mean())


def test_sets_of_different_records_are_refused():
    with pytest.raises(ValueError, match="same records"):
        Frontier(
            "broken",
            (FrontierPoint(1.0, Ratio.mean_of([1.0]), Ratio.mean_of([1.0, 2.0])),),
        )
    with pytest.raises(ValueError, match="one temperature"):
        trace_frontier("none", drawer(tempered), [], judge, MeanUnigramEntropy())
