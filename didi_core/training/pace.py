"""How many updates a run will come to where time ends it: its schedules follow that."""

import torch
from lightning.fabric import Fabric

from didi_core.distill.distributed_mean import reduced
from didi_core.distill.optimizers import TimedSteps


def planned_steps(
    done: int,
    steps: int,
    elapsed: float,
    max_seconds: float,
    fabric: Fabric,
    since: tuple[int, float] = (0, 0.0),
) -> int:
    """Count the updates in all, by the pace so far; `steps` where there is no limit of time.

    A method that is told so is as far in its rounds, and its rates as far in their decay, as the
    time is spent; warm-up and curricula take a share of it at most (`TimedSteps`). More than
    `done`, and at most `steps`.

    Args:
        elapsed: seconds of training so far; of several processes the slowest one's count.
        max_seconds: the limit; 0 for none.
        since: updates and seconds from which the pace is taken, those after the first update of a
            process: that one compiles, allocates and reads, and may take as long as hundreds.
    """
    if max_seconds <= 0:
        return steps
    if done <= since[0] <= 1:  # nothing is known but what the first update took
        return TimedSteps(steps)
    first, start = since if done > since[0] else (0, 0.0)
    if fabric.world_size > 1:  # all have to do the same update
        here = torch.tensor([elapsed, start], dtype=torch.float64, device=fabric.device)
        elapsed, start = reduced(fabric, here, "max").tolist()
    pace = (done - first) / max(elapsed - start, 1e-9)
    expected = round(done + (max_seconds - elapsed) * pace)
    return TimedSteps(max(done + 1, min(steps, expected)))
