"""The judge and pseudo-likelihood: exact on tables, and blind to padding and batching."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from didi_core.data.vocabulary import Vocabulary
from didi_core.evaluation.judge import causal_nll
from didi_core.evaluation.pseudo import exact_pseudo_nll, masked_log_probs, one_pass_pseudo_nll
from didi_core.models.esm import EsmDenoiser, EsmSettings

TOY = Vocabulary(
    tokens=("<s>", "<p>", "</s>", "a", "b", "c", "<m>"),
    mask_id=6,
    pad_id=1,
    bos_id=0,
    eos_id=2,
    generable_ids=(3, 4, 5),
)


class BigramModel(nn.Module):
    """A causal LM whose next token depends on the last alone: log-probabilities in a table."""

    def __init__(self, probabilities: torch.Tensor) -> None:
        super().__init__()
        self.log_table = nn.Parameter(probabilities.log())

    def forward(self, input_ids: torch.Tensor) -> SimpleNamespace:
        # A constant shift must not matter: logits are not normalised.
        return SimpleNamespace(logits=self.log_table[input_ids] + 3.0)


def test_judge_nll_by_hand():
    table = torch.full((7, 7), 1 / 7)
    table[0] = torch.tensor([0.0, 0, 0, 0.5, 0.25, 0.25, 0])  # after bos
    table[3] = torch.tensor([0.0, 0, 0.5, 0.1, 0.2, 0.2, 0])  # after a
    table[4] = torch.tensor([0.0, 0, 0.0, 0.9, 0.05, 0.05, 0])  # after b
    nll = causal_nll(BigramModel(table + 1e-30), [[3, 4, 3], [5], [3, 3]], bos_id=0)
    expected = [
        -(math.log(0.5) + math.log(0.2) + math.log(0.9)) / 3,
        -math.log(0.25),
        -(math.log(0.5) + math.log(0.1)) / 2,
    ]
    assert nll == pytest.approx(expected, rel=1e-6)


def _llama() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=7,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=128,
        use_cache=False,
    )
    return _randomised(LlamaForCausalLM(config))


def _randomised(model: nn.Module) -> nn.Module:
    """Every tensor random, norms and biases too: zeros and ones would agree with anything."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3 + 0.1)
    return model.eval()


def _sequences(count: int, longest: int) -> list[list[int]]:
    generator = np.random.default_rng(0)
    lengths = generator.integers(1, longest + 1, size=count)
    return [generator.integers(3, 6, size=length).tolist() for length in lengths]


def test_judge_agrees_with_the_library_one_sequence_at_a_time():
    model, sequences = _llama(), _sequences(12, 40)
    expected = []
    for ids in sequences:
        logits = model(torch.tensor([[0, *ids[:-1]]])).logits[0].double()
        expected.append(-logits.log_softmax(-1)[torch.arange(len(ids)), ids].mean().item())
    assert causal_nll(model, sequences, bos_id=0) == pytest.approx(expected, rel=1e-5)


def test_judge_batches_equal_singles_and_padding_never_matters():
    model, sequences = _llama(), _sequences(20, 60)
    together = causal_nll(model, sequences, bos_id=0, batch_tokens=4096)
    alone = causal_nll(model, sequences, bos_id=0, batch_tokens=1)
    with_a_long_one = causal_nll(model, [*sequences, [3] * 120], bos_id=0, batch_tokens=10**6)
    assert together == pytest.approx(alone, rel=1e-5)
    assert with_a_long_one[:-1] == pytest.approx(alone, rel=1e-5)


def test_judge_would_notice_padding_that_is_seen():
    """Negative control: padded on the left, the same comparison fails by far."""
    model, ids = _llama(), [3, 4, 5, 3]
    alone = causal_nll(model, [ids], bos_id=0)[0]
    padded = torch.tensor([[1, 1, 1, 0, *ids[:-1]]])
    logits = model(padded).logits[0, 3:].double()
    seen = -logits.log_softmax(-1)[torch.arange(4), ids].mean().item()
    assert abs(seen - alone) > 1e-3 * alone


def test_judge_keeps_input_order_and_refuses_what_has_no_likelihood():
    model, sequences = _llama(), _sequences(9, 30)
    forward = causal_nll(model, sequences, bos_id=0)
    backward = causal_nll(model, sequences[::-1], bos_id=0)
    assert forward == pytest.approx(backward[::-1], rel=1e-6)
    assert len(causal_nll(model, [], bos_id=0)) == 0
    with pytest.raises(ValueError, match="empty sequence"):
        causal_nll(model, [[3], []], bos_id=0)


def test_judge_stays_within_learned_positions():
    """GPT-2 has an embedding a position: the padded width must not pass the last one."""
    torch.manual_seed(0)
    model = GPT2LMHeadModel(
        GPT2Config(vocab_size=7, n_positions=20, n_embd=16, n_layer=1, n_head=2)
    )
    assert np.isfinite(causal_nll(model.eval(), [[3] * 20, [4] * 17], bos_id=0)).all()


def test_autocast_acts_and_stays_close():
    model, sequences = _llama(), _sequences(6, 30)
    exact = causal_nll(model, sequences, bos_id=0)
    rounded = causal_nll(model, sequences, bos_id=0, autocast=torch.bfloat16)
    assert not np.array_equal(exact, rounded)
    assert rounded == pytest.approx(exact, rel=0.05)


class TableDenoiser(nn.Module):
    """Logits of a position: a bias a token, plus 2 for each neighbour of the same token."""

    def __init__(self, bias: list[float]) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.tensor(bias))

    def trunk(self, tokens: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        real = torch.arange(tokens.shape[1]) < lengths[:, None]
        one_hot = nn.functional.one_hot(tokens, 7).float() * real[..., None]
        left, right = torch.zeros_like(one_hot), torch.zeros_like(one_hot)
        left[:, 1:], right[:, :-1] = one_hot[:, :-1], one_hot[:, 1:]
        return 2 * (left + right) + self.bias

    def head(self, hidden: torch.Tensor) -> torch.Tensor:
        return hidden


def test_exact_pseudo_nll_by_hand():
    # Sequence a a b. Biases of ids that are never written are large and must not count.
    denoiser = TableDenoiser([9.0, 9.0, 9.0, 1.0, 0.0, -1.0, 9.0])

    def nll(logits: list[float], target: int) -> float:
        return -(logits[target] - math.log(sum(math.exp(logit) for logit in logits)))

    expected = nll([3.0, 0.0, -1.0], 0) + nll([3.0, 2.0, -1.0], 0) + nll([3.0, 0.0, -1.0], 1)
    assert exact_pseudo_nll(denoiser, TOY, [3, 3, 4]) == pytest.approx(expected / 3, rel=1e-6)


def _esm() -> EsmDenoiser:
    settings = EsmSettings(
        vocabulary_size=7,
        num_layers=2,
        hidden_size=16,
        num_heads=2,
        intermediate_size=32,
        mask_id=6,
        token_dropout=True,
    )
    return _randomised(EsmDenoiser(settings))


def test_exact_pseudo_nll_agrees_with_one_position_at_a_time():
    denoiser, ids = _esm(), [3, 5, 4, 4, 3, 5, 5]
    framed, rows = TOY.frame(ids), []
    expected = 0.0
    for position in range(1, len(ids) + 1):
        tokens = torch.tensor([framed])
        tokens[0, position] = TOY.mask_id
        hidden = denoiser.trunk(tokens, torch.tensor([len(framed)]))
        log_probs = TOY.log_probs(denoiser.head(hidden[:, position]))
        expected -= log_probs[0, framed[position] - 3].item()
        rows.append(log_probs[0].double())
    for batch_tokens in (1, 40, 10_000):
        nll = exact_pseudo_nll(denoiser, TOY, ids, batch_tokens)
        assert nll == pytest.approx(expected / len(ids), rel=1e-5)
        (every,) = masked_log_probs(denoiser, TOY, [ids], batch_tokens=batch_tokens)
        torch.testing.assert_close(every, torch.stack(rows), rtol=1e-5, atol=1e-6)


def test_one_pass_batches_equal_singles_and_padding_never_matters():
    denoiser, sequences = _esm(), _sequences(15, 50)
    together = one_pass_pseudo_nll(denoiser, TOY, sequences)
    alone = [one_pass_pseudo_nll(denoiser, TOY, [ids])[0] for ids in sequences]
    assert together == pytest.approx(alone, rel=1e-5)
    one_by_hand = TOY.frame(sequences[0])
    hidden = denoiser.trunk(torch.tensor([one_by_hand]), torch.tensor([len(one_by_hand)]))
    log_probs = TOY.log_probs(denoiser.head(hidden[0, 1:-1]))
    ranks = torch.tensor(sequences[0]) - 3
    assert together[0] == pytest.approx(
        -log_probs[torch.arange(len(ranks)), ranks].mean().item(), rel=1e-5
    )


def test_pseudo_nll_sees_no_answer_but_one_pass_does():
    """A denoiser that copies what it sees: one pass finds it certain, the exact form does not."""

    class Copier(TableDenoiser):
        def trunk(self, tokens: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
            return 50 * nn.functional.one_hot(tokens, 7).float()

    copier = Copier([0.0] * 7)
    assert one_pass_pseudo_nll(copier, TOY, [[3, 4]])[0] == pytest.approx(0, abs=1e-6)
    assert exact_pseudo_nll(copier, TOY, [3, 4]) == pytest.approx(math.log(3), rel=1e-6)
