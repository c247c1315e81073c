"""States that the student made itself, as it will meet them in sampling (ours).

Trained on masked references alone, a student never sees its own early mistakes; and the noise of a
row has nothing to do with the tokens it stands beside, although in sampling it chose them. So some
rows keep the positions that the masks left visible and fill them with the student's own draws, made
in the student's own steps with the very noise that the step to be trained will use.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from didi_core.data.batches import TokenBatch
from didi_core.diffusion.draws import Stream, draw_categorical, keyed_uniform
from didi_core.distill.rollout import all_masked
from didi_core.models.noise import NoiseKeys
from didi_core.sampling.predictor import Predictor


@torch.no_grad()
def on_policy_tokens(
    student: Predictor,
    batch: TokenBatch,
    progress: Float[Tensor, "batch width"],
    num_steps: int,
    keys: tuple[int, Int[Tensor, "batch"], int],
    in_step: bool = False,
) -> Int[Tensor, "batch width"]:
    """The state `batch` with every visible token drawn by the student.

    Args:
        batch: references, masked in part.
        progress: when each position is revealed, from 0 to 1: step k of `num_steps` reveals those
            in [k, k + 1) / num_steps, among the visible ones.
        keys: seed, key of each row, training step. Steps count from 1: the step to be trained is
            number 0 of these keys, and must not draw the same numbers.
        in_step: make every step's call, also for no position: the student's tensors are spread
            over processes that must make the same calls.
    """
    seed, rows, update = keys
    mask_id = student.vocabulary.mask_id
    visible = batch.maskable & (batch.tokens != mask_id)
    tokens = all_masked(batch, mask_id)
    step_of = (progress * num_steps).long().clamp_max(num_steps - 1)
    for step in range(num_steps):
        now = visible & (step_of == step)
        active = now.any(-1).nonzero()[:, 0]
        if not len(active):
            if not in_step:
                continue
            active = torch.zeros(1, dtype=torch.long, device=rows.device)
        noise = NoiseKeys(seed, rows[active], step + 1, update)
        log_probs = student.log_probs(tokens[active], batch.lengths[active], now[active], noise)
        row, position = now.nonzero(as_tuple=True)
        key = (rows[row], position, update, step + 1)
        drawn = draw_categorical(
            log_probs, keyed_uniform(seed, Stream.TOKEN, *key, device=rows.device)
        )
        tokens[row, position] = student.vocabulary.generable.to(rows.device)[drawn]
    return tokens
