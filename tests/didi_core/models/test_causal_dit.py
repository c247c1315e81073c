"""Autoregressive checkpoints of the Duo code base: logits written out plainly, what is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from dit_fixtures import (
    HIDDEN,
    MASK,
    VOCABULARY,
    WORDS,
    plain_causal_logits,
    published_weights,
    relative_error,
)
from published_folders import (
    algorithm_content,
    causal_weights,
    training_content,
    write_checkpoint,
)

from didi_core.errors import UserError
from didi_core.models.causal import CausalNetwork
from didi_core.models.causal_dit import NEVER, read_causal_checkpoint

ROWS = torch.tensor([[3, 0, 7, 7, 12, 5, 9], [1, 13, 2, 4, 4, 6, 8]])
TOLERANCE = 1e-5


def opened(folder: Path, weights: dict[str, torch.Tensor], **model: Any) -> Any:
    path = write_checkpoint(folder / "ar.ckpt", algorithm_content("ar", weights, **model))
    return read_causal_checkpoint(path, WORDS)


def error(network: Any, weights: dict[str, torch.Tensor]) -> float:
    with torch.no_grad():
        found = network(input_ids=ROWS).logits
    expected = torch.stack([plain_causal_logits(weights, row) for row in ROWS])
    assert (found[..., MASK] < NEVER / 2).all(), "the mask is never written"
    return relative_error(found[..., :MASK], expected[..., :MASK].float())


def test_the_averaged_network_gives_the_logits_written_out_plainly(tmp_path: Path) -> None:
    weights = causal_weights(4)
    assert error(opened(tmp_path, weights), weights) < TOLERANCE
    other = opened(tmp_path / "heads", weights, n_heads=4)
    assert error(other, weights) > 100 * TOLERANCE, "with other heads it does not"
    for name in ("blocks.1.norm2.weight", "output_layer.linear.bias", "blocks.2.attn_qkv.weight"):
        damaged = {**weights, name: weights[name].flip(0)}
        assert error(opened(tmp_path / name, damaged), weights) > 100 * TOLERANCE, name


def test_token_by_token_with_the_cache_it_says_the_same(tmp_path: Path) -> None:
    network = opened(tmp_path, causal_weights(4))
    writer = CausalNetwork(network, start_id=0)
    assert writer.settings.max_tokens == 64 and writer.settings.vocabulary_size == VOCABULARY
    cache = None
    with torch.no_grad():
        whole = network(input_ids=ROWS).logits
        for place in range(ROWS.shape[1]):
            logits, cache = writer.next_logits(ROWS[:, place : place + 1], cache)
            torch.testing.assert_close(logits[:, :MASK], whole[:, place, :MASK])


def test_other_kinds_are_left_to_those_who_read_them(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "mdlm.ckpt", training_content())
    assert read_causal_checkpoint(path, WORDS) is None


def without(name: str) -> dict[str, torch.Tensor]:
    return {n: tensor for n, tensor in causal_weights().items() if n != name}


BAD = causal_weights()
WRONG = [
    (without("blocks.1.mlp.0.bias"), "averaged weights"),
    ({**BAD, "blocks.0.attn_qkv.weight": torch.ones(HIDDEN, HIDDEN)}, "query_key_value.*16, 16"),
    ({**BAD, "output_layer.linear.bias": torch.full((VOCABULARY,), torch.nan)}, "NaN.*lm_head"),
    (published_weights(), "unexpected: blocks.0.adaLN"),
    (causal_weights(words=VOCABULARY + 1), "16 ids and its tokenizer 15.*--tokenizer"),
]


@pytest.mark.parametrize(("weights", "message"), WRONG)
def test_what_does_not_fit_is_refused(
    tmp_path: Path, weights: dict[str, torch.Tensor], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        opened(tmp_path, weights)
