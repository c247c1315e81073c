"""The grid's exponent: which step reveals which position, and that D-MMD's times follow it."""

import pytest
import torch

from didi_core.data.batches import TokenBatch
from didi_core.diffusion.draws import Stream, keyed_uniform
from didi_core.distill.dmmd import DmmdSettings, MomentMatching
from didi_core.sampling.request import Prior, SampleSettings
from didi_core.sampling.reveal import ancestral_plan

WIDTH = 20_000


def plan(exponent: float, steps: int) -> torch.Tensor:
    tokens = torch.zeros(1, WIDTH, dtype=torch.long)
    batch = TokenBatch(tokens, torch.tensor([WIDTH]), torch.ones(1, WIDTH, dtype=torch.bool))
    settings = SampleSettings(steps=steps, seed=5, reveal_exponent=exponent)
    return ancestral_plan(Prior(batch, torch.zeros(1, dtype=torch.long)), settings)[0]


def test_each_position_is_revealed_where_alpha_passes_its_uniform() -> None:
    """Step k of 4 with exponent 2 reveals u in [(k/4)^2, ((k+1)/4)^2)."""
    uniform = keyed_uniform(5, Stream.REVEAL, 0, torch.arange(WIDTH))
    edges = torch.tensor([1, 4, 9], dtype=torch.float64) / 16
    assert torch.equal(plan(2.0, 4), torch.bucketize(uniform, edges, right=True))


@pytest.mark.parametrize("exponent", [1.0, 2.0, 3.0])
def test_shares_of_the_steps(exponent: float) -> None:
    share = torch.bincount(plan(exponent, 4), minlength=4) / WIDTH
    grid = (torch.arange(5) / 4) ** exponent
    # Four standard errors of a share of 20,000 positions.
    torch.testing.assert_close(share, grid.diff(), atol=4 * 0.5 / WIDTH**0.5, rtol=0)


def test_training_times_lie_on_the_same_grid() -> None:
    """t = 1 - r^2 and s = 1 - min(1, r + d)^2 with d at most 1 / student_steps; r = 0 is t = 1."""
    method = MomentMatching.__new__(MomentMatching)
    method.seed = 3
    method.settings = DmmdSettings(student_steps=8, reveal_exponent=2.0, start_share=0.25)
    t, s = method.draw_times(0, torch.arange(4000))
    before, after = (1 - t).sqrt(), (1 - s).sqrt()
    assert (after >= before).all()
    assert float((after == before).float().mean()) < 0.01  # a step too short for float32
    assert float((after - before).max()) <= 1 / 8 + 1e-3
    assert abs(float((t == 1).float().mean()) - 0.25) < 4 * 0.44 / 4000**0.5
    inside = before[t < 1]
    assert abs(float(inside.mean()) - 0.5) < 4 * 0.29 / len(inside) ** 0.5
