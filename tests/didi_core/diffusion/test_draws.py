"""Keyed random numbers against plain integers, and exact categorical draws."""

import itertools
import math

import pytest
import torch

from didi_core.diffusion.draws import (
    Stream,
    draw_categorical,
    draw_gumbel_float32,
    keyed_generator,
    keyed_hash,
    keyed_uniform,
)

WORD = 2**64 - 1
GOLDEN = 0x9E3779B97F4A7C15


def split_mix(value: int) -> int:
    """The finaliser of SplitMix64 in Python's own integers."""
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & WORD
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & WORD
    return value ^ (value >> 31)


def hash_by_hand(seed: int, stream: int, *keys: int) -> int:
    state = split_mix((seed * GOLDEN + stream) & WORD)
    for key in keys:
        state = split_mix((state + (key + 1) * GOLDEN) & WORD)
    return state


def test_the_finaliser_is_that_of_split_mix() -> None:
    # The first outputs of SplitMix64 seeded with 1234567, as published with its reference code.
    outputs = [split_mix((1234567 + n * GOLDEN) & WORD) for n in (1, 2, 3)]
    assert outputs == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@pytest.mark.parametrize("seed", [0, 1, 12345, 2**63 - 1])
@pytest.mark.parametrize("keys", [(), (0,), (3, 7, 11), (2**40 + 5, 0), (2**62, 2**33)])
def test_hashes_and_uniforms_are_those_of_plain_integers(seed: int, keys: tuple[int, ...]) -> None:
    for stream in (Stream.REVEAL, Stream.TOKEN):
        expected = hash_by_hand(seed, int(stream), *keys)
        assert int(keyed_hash(seed, stream, *keys)) % 2**64 == expected
        uniform = keyed_uniform(seed, stream, *keys)
        assert uniform.dtype == torch.float64
        assert float(uniform) == ((expected >> 12) + 0.5) / 2**52


def test_known_answers() -> None:
    assert float(keyed_uniform(0, Stream.TOKEN, 0, 0, 0)) == 0.1300164652661332
    assert float(keyed_uniform(7, Stream.REVEAL, 2**40, 5)) == 0.9255426268376289


def test_keys_broadcast_and_each_combination_has_its_own_number() -> None:
    record, position = torch.arange(40)[:, None], torch.arange(50)
    table = keyed_uniform(3, Stream.TOKEN, record, position, 2)
    assert table.shape == (40, 50)
    assert float(table[7, 9]) == float(keyed_uniform(3, Stream.TOKEN, 7, 9, 2))
    others = [
        keyed_uniform(4, Stream.TOKEN, record, position, 2),
        keyed_uniform(3, Stream.REVEAL, record, position, 2),
        keyed_uniform(3, Stream.TOKEN, record, position, 3),
        keyed_uniform(3, Stream.TOKEN, position[:40, None], torch.arange(100, 150), 2),
    ]
    every = torch.cat([table.flatten(), *(each.flatten() for each in others)])
    assert len(every.unique()) == len(every)


def test_numbers_are_uniform_and_neighbours_independent() -> None:
    table = keyed_uniform(1, Stream.TOKEN, torch.arange(300)[:, None], torch.arange(300), 0)
    counts = torch.histc(table.flatten(), bins=50, min=0, max=1)
    statistic = float(((counts - 1800) ** 2 / 1800).sum())
    assert 20 < statistic < 90, "49 degrees of freedom"
    for ahead, behind in ((table[1:], table[:-1]), (table[:, 1:], table[:, :-1])):
        correlation = torch.corrcoef(torch.stack([ahead.flatten(), behind.flatten()]))[0, 1]
        assert abs(float(correlation)) < 0.015


def test_a_generator_is_keyed_and_leaves_the_global_one_alone() -> None:
    before = torch.random.get_rng_state()
    drawn = [torch.rand(3, generator=keyed_generator(1, Stream.DATA, step)) for step in (0, 0, 1)]
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
    assert torch.equal(before, torch.random.get_rng_state())


CHANCES = {
    "none zero": [0.5, 0.3, 0.15, 0.05],
    "first zero": [0.0, 0.3, 0.65, 0.05],
    "middle zero": [0.5, 0.0, 0.0, 0.5],
    "last zero": [0.5, 0.45, 0.05, 0.0],
}


@pytest.mark.parametrize("chances", CHANCES.values(), ids=CHANCES)
@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_draws_follow_the_distribution(chances: list[float], precision: str) -> None:
    count = 100_000
    # Not normalised: a shift must not matter.
    log_probs = (torch.tensor(chances, dtype=torch.float64).log() + 3.0).expand(count, 4)
    record = torch.arange(count)
    if precision == "float64":
        drawn = draw_categorical(log_probs, keyed_uniform(5, Stream.TOKEN, record))
    else:
        keys = (record[:, None], torch.arange(4))
        drawn = draw_gumbel_float32(log_probs, keyed_uniform(5, Stream.TOKEN, *keys))
    counts = drawn.bincount(minlength=4).tolist()
    assert all(n == 0 for n, chance in zip(counts, chances, strict=True) if chance == 0)
    statistic = sum(
        (n - count * p) ** 2 / (count * p) for n, p in zip(counts, chances, strict=True) if p
    )
    assert statistic < 20, "at most 3 degrees of freedom"


def test_the_inverse_distribution_by_hand() -> None:
    log_probs = torch.tensor([[0.25, 0.25, 0.5]], dtype=torch.float64).log()
    cases = [(0.1, 0), (0.2499, 0), (0.2501, 1), (0.4999, 1), (0.5001, 2), (0.9999, 2)]
    for uniform, expected in cases:
        found = draw_categorical(log_probs, torch.tensor([uniform], dtype=torch.float64))
        assert int(found) == expected


def test_extreme_uniforms_never_pick_what_is_impossible() -> None:
    least, most = 2.0**-53, 1 - 2.0**-53
    for pattern in itertools.product((0.0, 1.0), repeat=3):
        if not any(pattern):
            continue
        possible = [i for i, chance in enumerate(pattern) if chance]
        log_probs = torch.tensor([pattern], dtype=torch.float64).log()
        for uniform, expected in ((least, possible[0]), (most, possible[-1])):
            found = draw_categorical(log_probs, torch.tensor([uniform], dtype=torch.float64))
            assert int(found) == expected


def test_a_rare_token_comes_at_its_rate() -> None:
    # Float32 cumulative sums or uniforms could not tell this token from an impossible one.
    rare = 2.0**-40
    log_probs = torch.tensor([[math.log1p(-rare), math.log(rare)]], dtype=torch.float64)
    for uniform, expected in ((1 - 2 * rare, 0), (1 - rare / 2, 1)):
        found = draw_categorical(log_probs, torch.tensor([uniform], dtype=torch.float64))
        assert int(found) == expected


def test_a_large_draw_is_made_in_blocks_and_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    log_probs = torch.randn(50, 7, generator=torch.Generator().manual_seed(1)).log_softmax(-1)
    uniform = keyed_uniform(5, Stream.TOKEN, torch.arange(50))
    at_once = draw_categorical(log_probs, uniform)
    monkeypatch.setattr("didi_core.diffusion.draws._BLOCK", 40)
    assert torch.equal(draw_categorical(log_probs, uniform), at_once)
    assert draw_categorical(log_probs[:0], uniform[:0]).shape == (0,)
