"""How many updates a run will come to where time ends it: its schedules follow that."""

import torch
from lightning.fabric import Fabric

from didi_core.distill.distributed_mean import reduced
from didi_core.distill.optimizers import TimedSteps


def planned_steps(done: int, steps: int, elapsed: float, max_seconds: float, fabric: Fabric) -> int:
    """Count the updates in all, by the pace so far; `steps` where there is no limit of time.

    A method that is told so is as far in its rounds, and its rates as far in their decay, as the
    time is spent; warm-up and curricula take a share of it at most (`TimedSteps`). More than
    `done`, and at most `steps`.

    Args:
        elapsed: seconds of training so far; of several processes the slowest one's count.
        max_seconds: the limit; 0 for none.
    """
    if max_seconds <= 0:
        return steps
    if not done:
        return TimedSteps(steps)
    if fabric.world_size > 1:  # all have to do the same update
        here = torch.tensor(elapsed, device=fabric.device)
        elapsed = float(reduced(fabric, here, "max"))
    expected = round(done * max_seconds / max(elapsed, 1e-9))
    return TimedSteps(max(done + 1, min(steps, expected)))
