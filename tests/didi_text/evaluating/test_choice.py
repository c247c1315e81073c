"""Multiple choice: which tokens are scored, by hand and beside lm-evaluation-harness itself.

`harness_numbers.json` holds what the harness's own model (`HFLM`) answers on the bundled judge, a
model of GPT-2's layout with a byte-level vocabulary; where the package is installed it is run.
"""

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from text_fixtures import DOCUMENTS, tiny_causal_model, tiny_masked_model, tiny_tokenizer

from didi_text.evaluating.choice import (
    Question,
    choose,
    encode_for,
    encode_pairs,
)
from didi_text.evaluating.likelihood import BoundSettings, continuation_nats
from didi_text.models.load import BUNDLED_MODELS, describe_model
from didi_text.models.writers import open_language_model

RECORDED = json.loads(Path(__file__).with_name("harness_numbers.json").read_text("utf-8"))
PAIRS = [(each["context"], each["continuation"]) for each in RECORDED["rows"]]
CASES = int(os.environ.get("DIDI_FUZZ_CASES", "300"))


def log_likelihoods(model, pairs: list[tuple[str, str]]) -> np.ndarray:
    rows, firsts = encode_for(model, pairs)
    return -continuation_nats(model, rows, firsts, BoundSettings())


def by_hand(ids: list[int], first: int) -> float:
    """Log-likelihood of `ids` from `first` on under the tiny GPT-2, a token at a time."""
    network, total = tiny_causal_model().network, 0.0
    for place in range(first, len(ids)):
        logits = network(torch.tensor([ids[:place]])).logits[0, -1].double()
        total += logits.log_softmax(-1)[ids[place]].item()
    return total


@pytest.mark.parametrize("end", [" ", "\n", "  ", "\n\n"])
def test_white_space_before_a_choice_is_scored_with_it(end: str) -> None:
    model, tokenizer = tiny_causal_model(), tiny_tokenizer()
    pairs = [(f"The cat{end}", each) for each in ("mat sat", "dog sat", "m")]
    found = log_likelihoods(model, pairs)
    start = len(tokenizer.encode("The cat"))
    for (context, choice), value in zip(pairs, found, strict=True):
        whole = tokenizer.encode(context + choice)
        assert whole[:start] == tokenizer.encode("The cat")
        assert value == pytest.approx(by_hand(whole, start), rel=1e-5)
    assert found[0] != pytest.approx(found[1], abs=1e-3)


@pytest.mark.parametrize("kind", ["masked", "autoregressive"])
def test_choices_of_one_token_are_answered_after_white_space(kind: str) -> None:
    model = tiny_masked_model() if kind == "masked" else tiny_causal_model()
    how = BoundSettings(form="order", draws=8, spread="draws")
    ends = [
        choose(model, [Question(f"The cat{end}", ("a", "b", "c"), 0)], how)["chosen"]
        for end in ("", " ")
    ]
    assert ends[0] == ends[1]


@settings(max_examples=CASES, deadline=None, derandomize=True)
@given(
    context=st.text("ab .(\"'\n\tThe", max_size=12),
    ends=st.text(" \n\t", max_size=3),
    choices=st.lists(st.text("ab .)\"'\nst", min_size=1, max_size=8), min_size=1, max_size=4),
    framed=st.booleans(),
)
def test_every_token_of_a_choice_is_scored_wherever_the_white_space_stands(
    context: str, ends: str, choices: list[str], framed: bool
) -> None:
    tokenizer = tiny_tokenizer()
    moved = [(context + ends, each) for each in choices]
    rows, firsts = encode_pairs(tokenizer, moved, None, framed=framed)
    bare = context.rstrip()
    there = [(bare, context[len(bare) :] + ends + each) for each in choices]
    assert (rows, firsts) == encode_pairs(tokenizer, there, None, framed=framed)
    for row, first, (_, choice) in zip(rows, firsts, there, strict=True):
        assert first >= 1 and tokenizer.decode(row[first:]).endswith(choice)
        given = tokenizer.decode(row[:first]).removeprefix("<|endoftext|>")
        assert bare.startswith(given)
    # One beginning for all of them, so that their likelihoods are of the same text and comparable.
    assert len({tuple(row[:first]) for row, first in zip(rows, firsts, strict=True)}) == 1


def test_a_token_that_context_and_choice_share_is_scored() -> None:
    tokenizer = tiny_tokenizer()
    word = next(each for each in DOCUMENTS[0].split() if len(tokenizer.encode(each)) == 1)
    alone, ids = tokenizer.encode(word[:-1]), tokenizer.encode(word)
    assert ids[: len(alone)] != alone
    rows, firsts = encode_pairs(tokenizer, [(word[:-1], word[-1]), (word[:-1], "?")], None)
    assert rows[0][firsts[0] :] == ids and firsts == [1, 1]


def test_figures_equal_those_that_the_harness_gave() -> None:
    model = open_language_model("tiny-judge")
    assert describe_model(model)["weights"] == RECORDED["weights"]
    found = log_likelihoods(model, PAIRS)
    expected = np.array([each["log_likelihood"] for each in RECORDED["rows"]])
    assert np.abs(found - expected).max() < 2e-3
    rows, firsts = encode_for(model, PAIRS)
    for row, first, each in zip(rows, firsts, RECORDED["rows"], strict=True):
        assert each["tokens"] in (None, len(row) - first)
    ended = [len(each[0]) != len(each[0].rstrip()) for each in PAIRS]
    assert sum(ended) > 100  # the kind that once lost its first token


def test_the_harness_itself_answers_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    huggingface = pytest.importorskip("lm_eval.models.huggingface", reason="needs lm-eval[hf]")
    from lm_eval.api.instance import Instance

    folder = str(BUNDLED_MODELS.path_of("tiny-judge"))
    theirs = huggingface.HFLM(pretrained=folder, device="cpu", dtype="float32", batch_size=1)
    asked = [Instance("loglikelihood", {}, pair, place) for place, pair in enumerate(PAIRS)]
    answers = theirs.loglikelihood(asked, disable_tqdm=True)
    found = log_likelihoods(open_language_model("tiny-judge"), PAIRS)
    assert all(math.isfinite(value) for value, _ in answers)
    assert found == pytest.approx([value for value, _ in answers], abs=1e-3)
