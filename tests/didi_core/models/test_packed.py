"""Packed tokens: what padded rows give, for every layout and input; the reference is the twin of
the kernels of a GPU."""

import inspect
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from dit_fixtures import tiny_dit
from tiny_models import MASK, framed_dit, randomise, timed_esm, tiny_denoiser
from torch import Tensor

from didi_core.data.batches import padding_mask
from didi_core.models import packed_attention, token_layout
from didi_core.models.attention import attend, attention_backend
from didi_core.models.attention_watch import watched_attention
from didi_core.models.denoiser import Denoiser, time_input
from didi_core.models.discriminator import Discriminator
from didi_core.models.esm import EsmDenoiser
from didi_core.models.packed_attention import (
    KERNELS,
    attend_block_diagonal,
    attention_path,
    fault_of,
    is_installed,
    packed_kernel,
    probe,
)
from didi_core.models.positions import flat_positions, head_at
from didi_core.models.recompute import checkpoint_activations
from didi_core.models.soft_tokens import SoftTokens
from didi_core.models.token_layout import PackedTokens

CPU = torch.device("cpu")
LENGTHS = torch.tensor([9, 4, 1, 7])
WIDTH = 12


def dropout_esm() -> EsmDenoiser:
    network = tiny_denoiser(num_layers=2)
    settings = replace(network.settings, token_dropout=True)
    network = EsmDenoiser(settings).eval()
    randomise(network, 1)
    return network


BUILDERS: dict[str, Callable[[], Denoiser]] = {
    "esm": lambda: tiny_denoiser(num_layers=2),
    "esm with token dropout": dropout_esm,
    "esm told the time": lambda: timed_esm(num_layers=2),
    "dit": tiny_dit,
    "dit told the time": lambda: framed_dit(num_layers=2, time_conditioned=True),
}


@pytest.fixture(params=BUILDERS, scope="module")
def network(request: pytest.FixtureRequest) -> Denoiser:
    return BUILDERS[request.param]().double()


def batch(lengths: Tensor = LENGTHS, width: int = WIDTH) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    tokens = torch.randint(3, 6, (len(lengths), width), generator=generator)
    blank = torch.rand(tokens.shape, generator=generator) < 0.4
    blank[:, 0] = False  # as framed: no row is all masks
    return tokens.masked_fill(blank, MASK) * padding_mask(lengths, width), lengths


def extras(network: Denoiser, tokens: Tensor, lengths: Tensor) -> dict[str, Tensor | SoftTokens]:
    """Soft tokens, noise and the time, all in float64."""
    generator = torch.Generator().manual_seed(3)
    soft_at = (tokens == MASK) & padding_mask(lengths, tokens.shape[1])
    shape = (int(soft_at.sum()), network.settings.vocabulary_size)
    soft = SoftTokens(soft_at, torch.rand(shape, generator=generator, dtype=torch.float64))
    hidden = (*tokens.shape, network.settings.hidden_size)
    noise = torch.randn(hidden, generator=generator, dtype=torch.float64)
    alpha = torch.linspace(0.1, 0.9, len(tokens), dtype=torch.float64)
    return {"soft": soft, "noise": noise, **time_input(network, alpha)}


def results(network: Denoiser, tokens: Tensor, lengths: Tensor, path: str) -> list[Tensor]:
    """Hidden states and logits at masks, the states in padded rows, and all gradients."""
    real = padding_mask(lengths, tokens.shape[1])
    given = extras(network, tokens, lengths)
    network.zero_grad()
    with attention_path(path):
        states, logits = network.states_at(tokens, lengths, (tokens == MASK) & real, **given)
        padded = network.trunk(tokens, lengths, **given)[real]
    (states.square().mean() + logits.square().mean() + padded.sin().mean()).backward()
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    return [states.detach(), logits.detach(), padded.detach(), *gradients]


@pytest.mark.parametrize("lengths", [LENGTHS, torch.full((4,), WIDTH), torch.tensor([5])])
def test_a_packed_trunk_is_the_padded_one(network: Denoiser, lengths: Tensor) -> None:
    tokens, lengths = batch(lengths)
    expected = results(network, tokens, lengths, "padded")
    found = results(network, tokens, lengths, "reference")
    assert len(found) == len(expected) > 20
    for ours, padded in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, padded, rtol=1e-9, atol=1e-10)


def test_only_real_tokens_are_computed(network: Denoiser) -> None:
    tokens, lengths = batch()
    seen: list[torch.Size] = []
    hook = network.blocks[1].register_forward_hook(lambda *call: seen.append(call[2].shape))
    with torch.no_grad(), attention_path("reference"):
        given = time_input(network, torch.linspace(0.1, 0.9, 4, dtype=torch.float64))
        network.logits_at(tokens, lengths, tokens == MASK, **given)
        network.logits_at(tokens, torch.full_like(lengths, WIDTH), tokens == MASK, **given)
    hook.remove()
    hidden = network.settings.hidden_size
    assert seen == [(int(lengths.sum()), hidden), (4, WIDTH, hidden)]


def test_a_row_alone_and_more_padding_give_the_same(network: Denoiser) -> None:
    tokens, lengths = batch()
    alpha = torch.linspace(0.1, 0.9, 4, dtype=torch.float64)
    with torch.no_grad(), attention_path("reference"):
        whole = network.trunk(tokens, lengths, **time_input(network, alpha))
        wider = torch.nn.functional.pad(tokens, (0, 5), value=3)
        more = network.trunk(wider, lengths, **time_input(network, alpha))
        for row, length in enumerate(lengths.tolist()):
            one = (tokens[row : row + 1, :length], lengths[row : row + 1])
            alone = network.trunk(*one, **time_input(network, alpha[row : row + 1]))
            torch.testing.assert_close(alone[0], whole[row, :length], rtol=1e-9, atol=1e-10)
            torch.testing.assert_close(more[row, :length], whole[row, :length])
            assert (whole[row, length:] == 0).all()


@pytest.mark.parametrize("wrong", ["starts", "positions", "condition"])
def test_a_layout_that_is_wrong_is_seen(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The controls: rows that run into each other, positions off, another row's condition."""
    network = timed_esm(num_layers=2).double()
    tokens, lengths = batch()
    right = token_layout._packed

    def spoilt(*parts) -> PackedTokens:
        layout = right(*parts)
        if wrong == "starts":
            return replace(layout, starts=layout.starts[[0, 2, 3, 4]])
        if wrong == "positions":
            return replace(layout, rotary=tuple(part.roll(1, 0) for part in layout.rotary))
        return replace(layout, row=3 - layout.row)

    expected = results(network, tokens, lengths, "padded")[1]
    monkeypatch.setattr(token_layout, "_packed", spoilt)
    found = results(network, tokens, lengths, "reference")[1]
    assert (found - expected).abs().max() > 1e-3


def test_attention_can_be_watched_and_blocks_computed_again() -> None:
    network = tiny_denoiser(num_layers=2, dtype=torch.float64)
    tokens, lengths = batch()
    means = {}
    for path in ("padded", "reference"):
        with torch.no_grad(), attention_path(path), watched_attention(network) as watch:
            network.trunk(tokens, lengths)
        means[path] = watch.mean()[padding_mask(lengths, WIDTH)]
    torch.testing.assert_close(means["reference"], means["padded"], rtol=1e-6, atol=1e-7)
    plain = results(network, tokens, lengths, "reference")
    checkpoint_activations(network)
    again = results(network, tokens, lengths, "reference")
    assert all(torch.equal(one, other) for one, other in zip(again, plain, strict=True))


def test_a_discriminator_reads_packed_tokens() -> None:
    judge = Discriminator(tiny_denoiser(num_layers=2)).double().eval()
    tokens, lengths = batch()
    at = (tokens == MASK) & padding_mask(lengths, WIDTH)
    found = {}
    for path in ("padded", "reference"):
        with attention_path(path):
            found[path] = judge.logits_at(tokens, lengths, at)
    torch.testing.assert_close(found["reference"], found["padded"], rtol=1e-9, atol=1e-10)


def test_padding_may_be_asked_for() -> None:
    network = tiny_denoiser(num_layers=2, dtype=torch.float64)
    tokens, lengths = batch()
    everywhere = torch.ones_like(tokens, dtype=torch.bool)
    with torch.no_grad(), attention_path("reference"):
        states = network.states(tokens, lengths)
        asked = head_at(torch.nn.Identity(), states, flat_positions(everywhere))
        real = padding_mask(lengths, WIDTH)
        assert torch.equal(asked.view(*tokens.shape, -1)[real], states.padded()[real])


# The kernels, and which is taken.


def test_the_reference_is_attention_over_one_row_at_a_time() -> None:
    assert probe(attend_block_diagonal, CPU, torch.float64, 8) < 1e-6
    one_row = torch.randn(3, 7, 2, 8, dtype=torch.float64)
    heads = [part.transpose(0, 1)[None] for part in one_row]
    expected = attend(*heads, None)[0].transpose(0, 1)
    found = attend_block_diagonal(*one_row, torch.tensor([0, 7], dtype=torch.int32), 7)
    torch.testing.assert_close(found, expected)


def test_a_processor_and_single_precision_keep_padded_rows() -> None:
    for device, dtype in (("cpu", torch.float32), ("cpu", torch.bfloat16), ("cuda", torch.float32)):
        assert packed_kernel(torch.device(device), dtype, 64) is None
    network = tiny_denoiser()
    assert not isinstance(network.states(*batch()).layout, PackedTokens)
    with attention_path("varlen"):
        assert attention_backend(CPU, torch.bfloat16) == "varlen"
    assert attention_backend(CPU, torch.bfloat16) == "plain"


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (lambda *_: (_ for _ in ()).throw(RuntimeError("no image for this GPU")), "no image"),
        (lambda query, *_: query, "off by"),
        (lambda query, *_: query * torch.nan, "off by"),
    ],
)
def test_a_kernel_that_fails_is_left_out_with_a_line(
    broken, reason: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(KERNELS, "varlen", broken)
    packed_attention._runs.cache_clear()
    packed_attention.say_once.cache_clear()
    assert not packed_attention._runs("varlen", CPU, torch.bfloat16, 8)
    assert "varlen" in (said := capsys.readouterr().err) and reason in said
    monkeypatch.setitem(KERNELS, "varlen", attend_block_diagonal)
    packed_attention._runs.cache_clear()
    assert packed_attention._runs("varlen", CPU, torch.bfloat16, 8)
    packed_attention._runs.cache_clear()


@pytest.mark.skipif(not is_installed("varlen"), reason="torch before 2.10")
@pytest.mark.parametrize("refuses", [False, True])
def test_varlen_attention_of_torch_takes_what_it_is_given(
    refuses: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its signature on this torch, also where the build refuses a keyword that it knows; the
    reference computes in its place."""
    from torch.nn.attention import varlen

    signature = inspect.signature(varlen.varlen_attn)
    packed_attention._whole_sums.cache_clear()
    knows_splits = bool(packed_attention._whole_sums())

    def stand_in(*given, **named) -> Tensor:
        found = signature.bind(*given, **named).arguments
        if refuses and "num_splits" in named:
            raise RuntimeError("num_splits needs another kernel")
        assert found["cu_seq_q"].dtype == torch.int32 and found.get("num_splits", 1) == 1
        assert found["max_q"] == found["max_k"] == 32
        states = (found[name] for name in ("query", "key", "value"))
        return attend_block_diagonal(*states, found["cu_seq_k"], 32)

    monkeypatch.setattr(varlen, "varlen_attn", stand_in)
    assert fault_of("varlen", CPU, torch.float32, 8) is None
    assert bool(packed_attention._whole_sums()) is (knows_splits and not refuses)
    packed_attention._whole_sums.cache_clear()


# On a GPU.

cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
KERNELS_HERE = pytest.mark.parametrize("name", ["flash", "varlen"])


@pytest.mark.gpu
@cuda
@KERNELS_HERE
@pytest.mark.parametrize("head_dim", [16, 32, 64])
def test_kernels_agree_with_the_reference(name: str, head_dim: int) -> None:
    if not is_installed(name):
        pytest.skip(f"{name} is not installed")
    assert probe(KERNELS[name], torch.device("cuda"), torch.bfloat16, head_dim) < 0.02


@pytest.mark.gpu
@cuda
@KERNELS_HERE
@pytest.mark.parametrize("lengths", [[48, 20, 1, 33], [48, 48]])
def test_logits_and_gradients_of_a_packed_trunk_on_a_gpu(name: str, lengths: list[int]) -> None:
    """Half precision strays from float32 no further packed than padded."""
    if not is_installed(name):
        pytest.skip(f"{name} is not installed")
    tokens, rows = batch(torch.tensor(lengths), 48)
    tokens, rows = tokens.cuda(), rows.cuda()
    found: dict[str, list[Tensor]] = {}
    for path in ("exact", "padded", name):
        network = tiny_denoiser(num_layers=2, width=32).cuda()
        half = path != "exact"
        with attention_path(path if half else "padded"), torch.autocast("cuda", enabled=half):
            logits = network.logits_at(tokens, rows, (tokens == MASK) & padding_mask(rows, 48))
        logits.float().square().mean().backward()
        found[path] = [logits.detach().float(), network.blocks[0].qkv.weight.grad]
    for exact, padded, packed in zip(*found.values(), strict=True):
        scale = exact.abs().max()
        allowed = 2 * (padded - exact).abs().max() + 0.01 * scale
        assert (packed - exact).abs().max() < allowed


@pytest.mark.gpu
@cuda
@KERNELS_HERE
def test_attention_of_a_row_does_not_depend_on_the_others_on_a_gpu(name: str) -> None:
    if not is_installed(name):
        pytest.skip(f"{name} is not installed")
    states = torch.randn(3, 90, 2, 32, device="cuda").bfloat16()
    edges = torch.tensor([0, 40, 90], dtype=torch.int32, device="cuda")
    both = KERNELS[name](*states, edges, 64)
    alone = KERNELS[name](*states[:, :40], edges[:2], 48)
    assert torch.equal(both[:40], alone)
