"""Autoregressive sampling: the law that is documented, exactly; the cache and the batch change
nothing; what is kept is read first."""

import itertools
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from exact_denoiser import Law, chi_square_p_value, draw_sequences
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel

from didi_core.data.vocabulary import Vocabulary
from didi_core.diffusion.draws import Stream, draw_categorical, keyed_uniform
from didi_core.errors import UserError
from didi_core.models.causal import UNLIMITED, CausalNetwork
from didi_core.models.folder import LoadedModel
from didi_core.sampling.autoregressive import AutoregressiveSampler, keeps_after_free
from didi_core.sampling.filling import build_prior
from didi_core.sampling.folder_defaults import choose_sampler
from didi_core.sampling.predictor import NextTokenPredictor
from didi_core.sampling.registry import (
    build_predictor,
    build_sampler,
    check_settings,
    find_sampler,
)
from didi_core.sampling.request import DrawSettings, SampleSettings
from didi_core.sampling.time_estimate import estimate_seconds

NUM, MASK, END, START = 3, 3, 4, 5
"""Tokens a, b and c are 0, 1 and 2. The network has outputs for the special ones too."""
SIZE = 6
SPARE = 3
"""Outputs of a network beyond its vocabulary."""
DRAWS = 100_000


def vocabulary(*, framed: bool) -> Vocabulary:
    """Proteins are framed by begin and end; text is not."""
    return Vocabulary(
        tokens=("a", "b", "c", "<mask>", "<end>", "<start>"),
        mask_id=MASK,
        pad_id=END,
        generable_ids=(0, 1, 2),
        bos_id=START if framed else None,
        eos_id=END if framed else None,
    )


class TabularNetwork(nn.Module):
    """A causal LM whose law is a table: random logits for every beginning, ends among them."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.anchor = nn.Parameter(torch.zeros(1))  # says where the network lives
        generator = torch.Generator().manual_seed(seed)
        self.tables = [
            torch.randn(SIZE**known, SIZE, generator=generator, dtype=torch.float64)
            for known in range(4)
        ]

    def forward(
        self, input_ids: Tensor, past_key_values: Tensor | None, use_cache: bool
    ) -> SimpleNamespace:
        assert use_cache and (input_ids != MASK).all()
        known = input_ids if past_key_values is None else torch.cat([past_key_values, input_ids], 1)
        assert (known[:, 0] == START).all()
        place = SIZE ** torch.arange(known.shape[1] - 1)
        logits = self.tables[known.shape[1] - 1][(known[:, 1:] * place).sum(-1)]
        return SimpleNamespace(logits=logits[:, None], past_key_values=known)

    def chances(self, begun: tuple[int, ...]) -> Tensor:
        """p(next | begun) over all outputs."""
        number = sum(token * SIZE**place for place, token in enumerate(begun))
        return self.tables[len(begun)][number].softmax(-1)


def law_of(network: TabularNetwork, length: int, power: float = 1.0, allowed: str = "abc") -> Law:
    """The documented law, by hand: of every token given that the sequence goes on."""
    result = {}
    ids = ["abc".index(letter) for letter in allowed]
    for sequence in itertools.product(ids, repeat=length):
        chance = 1.0
        for place, token in enumerate(sequence):
            weights = network.chances(sequence[:place]) ** power
            chance *= float(weights[token] / weights[ids].sum())
        result[sequence] = chance
    assert sum(result.values()) == pytest.approx(1)
    return result


def framed_law(law: Law) -> Law:
    return {(START, *sequence, END): chance for sequence, chance in law.items()}


@pytest.fixture(scope="module")
def table() -> TabularNetwork:
    return TabularNetwork(seed=2)


def sampler_of(network: nn.Module, vocabulary: Vocabulary) -> AutoregressiveSampler:
    return AutoregressiveSampler(NextTokenPredictor(CausalNetwork(network, START), vocabulary))


def drawn_from(
    network: nn.Module, row: list[int], draw: DrawSettings | None = None
) -> Counter[tuple[int, ...]]:
    """Counted sequences of one row that is filled over and over."""
    sampler = sampler_of(network, vocabulary(framed=row[-1] == END))
    settings = SampleSettings(steps=None, seed=1, draw=draw or DrawSettings())
    return draw_sequences(sampler, sampler.predictor, settings, row, DRAWS)


@pytest.mark.parametrize("length", [1, 2, 3])
def test_samples_reach_the_law_of_tokens_given_that_the_sequence_goes_on(
    table: TabularNetwork, length: int
) -> None:
    counts = drawn_from(table, [START, *[MASK] * length, END])
    assert chi_square_p_value(counts, framed_law(law_of(table, length))) > 1e-3
    if length < 3:
        return
    # It is not the law of sequences that end right there: the two are told apart.
    ended = {
        sequence: torch.stack(
            [table.chances(sequence[:place])[token] for place, token in enumerate((*sequence, END))]
        ).prod()
        for sequence in law_of(table, length)
    }
    total = sum(ended.values())
    exact = {sequence: float(chance / total) for sequence, chance in ended.items()}
    assert chi_square_p_value(counts, framed_law(exact)) < 1e-12


def test_without_a_frame_the_first_token_is_the_start_and_is_not_drawn(
    table: TabularNetwork,
) -> None:
    counts = drawn_from(table, [MASK] * 3)
    law = {(START, *sequence): chance for sequence, chance in law_of(table, 2).items()}
    assert chi_square_p_value(counts, law) > 1e-3


def test_temperature_and_excluded_tokens_by_the_enumerated_law(table: TabularNetwork) -> None:
    bias = torch.tensor([0.0, -torch.inf, 0.0])
    counts = drawn_from(table, [START, *[MASK] * 3, END], DrawSettings(0.5, 1.0, bias))
    assert chi_square_p_value(counts, framed_law(law_of(table, 3, 2.0, "ac"))) > 1e-3
    assert chi_square_p_value(counts, framed_law(law_of(table, 3, 1.0, "ac"))) < 1e-12
    hot = drawn_from(table, [START, *[MASK] * 2, END], DrawSettings(2.0))
    assert chi_square_p_value(hot, framed_law(law_of(table, 2, 0.5))) > 1e-3


def test_top_p_and_bias_by_the_enumerated_law(table: TabularNetwork) -> None:
    weights = table.chances(())[:NUM] * torch.tensor([1.0, 2.0, 1.0])
    best, second = (weights / weights.sum()).sort(descending=True)
    kept = int((best.cumsum(0) - best < 0.6).sum())
    assert kept == 2
    chances = best[:kept] / best[:kept].sum()
    law = {(START, int(token), END): float(p) for token, p in zip(second, chances, strict=False)}
    nats = torch.tensor([1.0, 2.0, 1.0]).log()
    counts = drawn_from(table, [START, MASK, END], DrawSettings(1.0, 0.6, nats))
    assert chi_square_p_value(counts, law) > 1e-3


def test_what_is_given_first_is_read_and_the_rest_follows_its_law(table: TabularNetwork) -> None:
    counts = drawn_from(table, [START, 1, MASK, MASK, END])
    law = law_of(table, 3)
    given = {each: chance for each, chance in law.items() if each[0] == 1}
    total = sum(given.values())
    conditioned = {each: chance / total for each, chance in given.items()}
    assert chi_square_p_value(counts, framed_law(conditioned)) > 1e-3


def test_what_is_kept_after_a_free_place_is_found() -> None:
    for row, found in (
        ([START, MASK, MASK, END], False), ([START, 1, MASK, END], False),
        ([START, MASK, 1, END], True), ([START, MASK, 1, MASK, END], True),
        ([START, 1, 2, END], False),
    ):  # fmt: skip
        assert keeps_after_free(row, MASK, END) is found
    assert keeps_after_free([END, MASK, END], MASK, None)


# A network of transformers, with its own cache


@pytest.fixture(scope="module")
def network() -> GPT2LMHeadModel:
    """A GPT-2 in which every tensor is random, with more outputs than there are ids."""
    config = GPT2Config(vocab_size=SIZE + SPARE, n_positions=40, n_embd=8, n_layer=2, n_head=2)
    model = GPT2LMHeadModel(config).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5)
    return model.double()


ROWS = [
    [START, *[MASK] * 5, END], [START, *[MASK] * 20, END], [START, 1, 2, 0, *[MASK] * 3, END],
    [START, MASK, END], [START, *[2] * 9, *[MASK] * 9, END], [START, 0, 1, END],
]  # fmt: skip
KEYS = [0, 5, 9, 11, 700, 3]


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_the_cache_and_the_batch_change_nothing(network: GPT2LMHeadModel, precision: str) -> None:
    words = vocabulary(framed=True)
    sampler, draw = sampler_of(network, words), DrawSettings(0.8, 0.9, precision=precision)
    settings = SampleSettings(steps=None, seed=3, draw=draw)
    together = sampler.sample(build_prior(ROWS, KEYS, words, "cpu"), settings)
    for number, (row, key) in enumerate(zip(ROWS, KEYS, strict=True)):
        alone = sampler.sample(build_prior([row], [key], words, "cpu"), settings)
        found = together.tokens[number].tolist()
        assert found[: len(row)] == alone.tokens[0, : len(row)].tolist()
        assert set(found[len(row) :]) <= {END}  # padding
        assert int(together.denoiser_calls[number]) == int(alone.denoiser_calls[0])
        assert int(alone.denoiser_calls[0]) == row.count(MASK)
        kept = [index for index, each in enumerate(row) if each != MASK]
        assert [found[index] for index in kept] == [row[index] for index in kept]
        assert all(found[i] < NUM for i, each in enumerate(row) if each == MASK)
    assert together.discriminator_calls.tolist() == [0] * len(ROWS)


def test_tokens_are_those_of_whole_rows_without_a_cache(network: GPT2LMHeadModel) -> None:
    words = vocabulary(framed=False)
    records, length, seed = torch.tensor([0, 5, 9, 11, 700]), 16, 3
    prior = build_prior([[MASK] * length] * 5, records.tolist(), words, "cpu")
    drawn = sampler_of(network, words).sample(prior, SampleSettings(steps=None, seed=seed))
    direct = torch.full((len(records), 1), START)
    for position in range(1, length):
        with torch.no_grad():
            logits = network(input_ids=direct, use_cache=False).logits[:, -1, :NUM]
        uniform = keyed_uniform(seed, Stream.TOKEN, records, position, 0)
        following = draw_categorical(logits.double().log_softmax(-1), uniform)
        direct = torch.cat([direct, following[:, None]], dim=1)
    assert torch.equal(drawn.tokens[:, :length], direct)
    assert len(direct.unique(dim=0)) == len(records)
    assert drawn.denoiser_calls.tolist() == [length - 1] * 5


def test_each_call_is_a_token_wide_and_counted(network: GPT2LMHeadModel) -> None:
    widths: list[int] = []
    seen = network.register_forward_pre_hook(
        lambda _, __, named: widths.append(named["input_ids"].shape[1]), with_kwargs=True
    )
    outputs: list[int] = []
    network.lm_head.register_forward_hook(lambda _, __, out: outputs.append(out.shape[1]))
    words, rows = vocabulary(framed=True), []
    predictor = NextTokenPredictor(CausalNetwork(network, START), words)
    sampler = AutoregressiveSampler(replace(predictor, on_call=rows.append))
    settings = SampleSettings(steps=None)
    sampler.sample(build_prior([ROWS[4], ROWS[4]], [0, 1], words, "cpu"), settings)
    assert widths == [10, *[1] * 8] and rows == [2] * 9  # what is given is read in one call
    assert outputs == [1] * 9, "the head is asked for the next token alone"
    assert sampler.num_steps(9, settings) == 9
    assert estimate_seconds(predictor, [[ROWS[1]]], [20]) > 0
    assert widths[-2:] == [1, 1]
    seen.remove()


def loaded(network: nn.Module) -> LoadedModel:
    writer = CausalNetwork(network, START)
    return LoadedModel(writer, vocabulary(framed=True), {}, "gpt", Path(), {})


def test_it_is_the_sampler_of_its_process_and_of_no_other(network: GPT2LMHeadModel) -> None:
    model = loaded(network)
    assert model.process == "autoregressive" and model.denoiser.settings.max_tokens == 40
    assert CausalNetwork(network.transformer, 0).settings.vocabulary_size == SIZE + SPARE
    kind = choose_sampler(None, "exact", model)
    assert kind.name == "autoregressive" and not kind.sees_both_sides
    predictor = build_predictor(model)
    assert isinstance(kind.build(predictor, model, {}), AutoregressiveSampler)
    for name in ("ancestral", "first-hitting", "psi"):
        with pytest.raises(UserError, match=f"--sampler {name}: .* gpt .*; use autoregressive"):
            build_sampler(find_sampler(name), predictor, model, {})
    with pytest.raises(UserError, match="has no options, but got eta"):
        kind.build(predictor, model, {"eta": 1})
    with pytest.raises(UserError, match="--without-noise: --model gpt has no noise input"):
        build_predictor(model, with_noise=False)
    for settings, message in (
        (
            SampleSettings(8),
            "--steps 8: --sampler autoregressive, for autoregressive models, takes no",
        ),
        (SampleSettings(None, grid="published"), "--grid published"),
        (SampleSettings(None, reveal_exponent=2.0), "--reveal-exponent 2"),
    ):
        with pytest.raises(UserError, match=message):
            check_settings(kind, settings)


def test_a_network_that_names_no_limit_has_none(table: TabularNetwork) -> None:
    table.get_input_embeddings = lambda: SimpleNamespace(weight=torch.zeros(SIZE, 1))
    assert CausalNetwork(table, START).settings.max_tokens == UNLIMITED
