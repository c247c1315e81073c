"""The DiT in use: padding, fresh weights, and an update of each method."""

import pytest
import torch
from dit_fixtures import MASK, SETTINGS, WORDS, real_logits, relative_error, tiny_dit, token_rows
from tiny_models import cpu_fabric

from didi_core.data.corpus import Corpus
from didi_core.distill.didi import DidiInstruct
from didi_core.distill.didi_settings import DidiSettings
from didi_core.distill.dmmd import DmmdSettings, MomentMatching
from didi_core.distill.optimizers import OptimizerSettings
from didi_core.distill.reference import GroupedReference
from didi_core.models import attention
from didi_core.models.dit import DitDenoiser, DitSettings
from didi_core.models.noise import NoiseSettings

FAST = OptimizerSettings(lr=1e-2, warmup_steps=1)


def test_padding_and_batch_do_not_matter() -> None:
    denoiser = tiny_dit().double()
    tokens, lengths = token_rows()
    together = real_logits(denoiser, tokens, lengths)
    wide = torch.nn.functional.pad(tokens, (0, 9), value=WORDS.pad_id)
    torch.testing.assert_close(real_logits(denoiser, wide, lengths), together)
    alone = [
        real_logits(denoiser, row[None, :length], torch.tensor([length]))
        for row, length in zip(tokens, lengths.tolist(), strict=True)
    ]
    torch.testing.assert_close(torch.cat(alone), together)
    other_padding = tokens.masked_fill(torch.arange(7) >= lengths[:, None], MASK)
    assert torch.equal(real_logits(denoiser, other_padding, lengths), together)


def test_whole_rows_take_the_path_without_a_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    """And give what the path with one gives."""
    seen = []
    attend = attention.attend
    monkeypatch.setattr(attention, "attend", lambda *parts: seen.append(parts[3]) or attend(*parts))
    tokens = token_rows()[0][:1]
    whole = real_logits(tiny_dit(), tokens, torch.tensor([7]))
    assert seen == [None] * SETTINGS.num_layers
    padded = torch.nn.functional.pad(tokens, (0, 2), value=WORDS.pad_id)
    torch.testing.assert_close(real_logits(tiny_dit(), padded, torch.tensor([7])), whole)
    assert seen[-1] is not None


def test_half_precision_rounds_and_does_nothing_else() -> None:
    tokens, lengths = token_rows()
    expected = real_logits(tiny_dit(), tokens, lengths)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = real_logits(tiny_dit(), tokens, lengths)
    half = real_logits(tiny_dit().bfloat16(), tokens, lengths)
    assert mixed.dtype == half.dtype == torch.bfloat16
    assert relative_error(mixed.float(), expected) < 0.1
    assert relative_error(half.float(), expected) < 0.1


def test_fresh_weights_make_every_token_equally_likely_and_can_learn() -> None:
    denoiser = DitDenoiser(SETTINGS)
    denoiser.initialise(torch.Generator().manual_seed(0))
    tokens, lengths = token_rows()
    assert not real_logits(denoiser, tokens, lengths).any()
    again = DitDenoiser(SETTINGS)
    again.initialise(torch.Generator().manual_seed(0))
    for name, tensor in denoiser.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    optimizer = torch.optim.AdamW(denoiser.parameters(), lr=1e-2)
    at, wanted = tokens == MASK, torch.tensor(4)
    for _ in range(30):
        logits = denoiser.logits_at(tokens, lengths, at)
        loss = torch.nn.functional.cross_entropy(logits, wanted.expand(len(logits)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.1
    # Networks that are not conditioned see sigma = 0, whose sines are zero.
    unmoved = [n for n, p in denoiser.named_parameters() if p.grad is None or not p.grad.any()]
    assert not unmoved


def test_published_size() -> None:
    with torch.device("meta"):
        small = DitDenoiser(DitSettings(50_258, 12, 768, 12, 50_257))
        medium = DitDenoiser(DitSettings(50_258, 24, 1024, 16, 50_257))
    counts = [sum(p.numel() for p in network.parameters()) for network in (small, medium)]
    assert [round(count / 1e6) for count in counts] == [170, 424]


def reference(seed: int = 1) -> GroupedReference:
    generator = torch.Generator().manual_seed(seed)
    rows = [torch.randint(0, MASK, (int(n),), generator=generator) for n in range(3, 23)]
    return GroupedReference(Corpus.from_ids([row.tolist() for row in rows]), WORDS, 2, 256, 24, 1)


def updated(method: DidiInstruct | MomentMatching) -> list[str]:
    """Names of the student's tensors that two updates change."""
    method.setup(cpu_fabric())
    before = {n: t.clone() for n, t in method.student.module.state_dict().items()}
    for step in range(2):
        figures = method.step(step, 10)
        assert all(torch.isfinite(torch.tensor(value)) for value in figures.values())
    after = method.student.module.state_dict()
    return [name for name in before if not torch.equal(before[name], after[name])]


def test_didi_updates_every_tensor_of_the_student() -> None:
    settings = DidiSettings(student=FAST, discriminator=FAST, group_size=2, discriminator_blocks=2)
    method = DidiInstruct(tiny_dit(), WORDS, reference(), settings, seed=0)
    first_block = method.discriminator.module.trunk.blocks[0].qkv.weight.detach().clone()
    last_block = method.discriminator.module.trunk.blocks[2].qkv.weight.detach().clone()
    assert len(updated(method)) == len(tiny_dit().state_dict())
    judge = method.discriminator.module
    assert not any(name.startswith(("trunk.output", "trunk.head")) for name in judge.state_dict())
    assert torch.equal(judge.trunk.blocks[0].qkv.weight, first_block), "frozen"
    assert not torch.equal(judge.trunk.blocks[2].qkv.weight, last_block)


@pytest.mark.parametrize("noise", ["none", "position", "sequence"])
def test_dmmd_updates_every_tensor_of_the_student(noise: str) -> None:
    settings = DmmdSettings(student=FAST, auxiliary=FAST, noise=NoiseSettings(kind=noise, size=4))
    method = MomentMatching(tiny_dit(), WORDS, reference(), settings, seed=0)
    own = 0 if noise == "none" else 1  # the projection of the noise
    assert len(updated(method)) == len(tiny_dit().state_dict()) + own
