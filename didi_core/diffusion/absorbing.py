"""The absorbing (masked) process: a token is kept with probability alpha(t), else becomes mask.

Sources: MDLM, arXiv 2406.07524, sections 3.1 to 3.3. Positions that are not `maskable` (framing
tokens, padding, residues a template keeps) are never touched.
"""

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from didi_core.diffusion.schedules import LogLinearSchedule


@dataclass(frozen=True)
class AbsorbingProcess:
    """Forward corruption, reverse posterior and likelihood bound of masked diffusion."""

    mask_id: int
    schedule: LogLinearSchedule = field(default_factory=LogLinearSchedule)

    def corrupt(
        self,
        tokens: Int[Tensor, "batch width"],
        maskable: Bool[Tensor, "batch width"],
        t: Float[Tensor, "batch"],
        uniform: Float[Tensor, "batch width"],
    ) -> Int[Tensor, "batch width"]:
        """Draw z_t: each maskable token is kept with probability alpha(t), else becomes mask."""
        masked = maskable & (uniform >= self.schedule.alpha(t).unsqueeze(-1))
        return tokens.masked_fill(masked, self.mask_id)

    def reveal_probability(self, alpha_t: float, alpha_s: float, sigma: float = 0.0) -> float:
        """Return (alpha_s - alpha_t) / (1 - alpha_t), the chance that a mask is revealed.

        Args:
            sigma: chance that a revealed position is masked again in the same step, at most
                (1 - alpha_s) / alpha_t. Then more are revealed, (alpha_s - (1 - sigma) alpha_t)
                / (1 - alpha_t), so that alpha_s stays their share (ReMDM, arXiv 2503.00307).
        """
        return (alpha_s - (1.0 - sigma) * alpha_t) / (1.0 - alpha_t)

    def predicted(
        self, noised: Int[Tensor, "batch width"], maskable: Bool[Tensor, "batch width"]
    ) -> Bool[Tensor, "batch width"]:
        """Mark where the bound needs a prediction: at masks, since SUBS carries the rest over."""
        return maskable & (noised == self.mask_id)

    def log_prediction(self, logits: Float[Tensor, "n generable"]) -> Float[Tensor, "n generable"]:
        """Return log x_theta: normalised log-probabilities."""
        return logits.log_softmax(-1)

    def bound_terms(
        self,
        log_probs: Float[Tensor, "n generable"],
        clean: Int[Tensor, "n"],
        noised: Int[Tensor, "n"],
        t: Float[Tensor, "n"],
    ) -> Float[Tensor, "n"]:
        """Return each masked position's part of a one-sample bound on -log p(x), in nats.

        -alpha'(t) / (1 - alpha(t)) times -log p(x | z_t) (MDLM equation 10). The mean over t,
        uniform in (0, 1), of a sequence's sum bounds -log p(x).

        Args:
            log_probs: of the generable tokens.
            clean: rank of the true token among them.
            noised: of z_t, which is mask everywhere.
            t: time of the position's row.
        """
        return self.denoising_terms(log_probs, clean, noised, t) * self.schedule.weight(t)

    def denoising_terms(
        self,
        log_probs: Float[Tensor, "n generable"],
        clean: Int[Tensor, "n"],
        noised: Int[Tensor, "n"],
        t: Float[Tensor, "n"],
    ) -> Float[Tensor, "n"]:
        """Return -log p(x_l | z_t) of each masked position, in nats; see `bound_terms`."""
        del noised, t  # a mask says nothing of its token
        return -log_probs.gather(-1, clean.unsqueeze(-1)).squeeze(-1)


def low_discrepancy_times(
    count: int, uniform: Float[Tensor, ""] | float, low: float = 0.0, high: float = 1.0
) -> Float[Tensor, "count"]:
    """Spread `count` times evenly over (low, high) by one uniform shift (MDLM, appendix).

    One of them at random is uniform; together they cover the interval, which lowers the variance.
    They ascend: shuffle them where rows are in an order of their own.
    """
    offsets = (torch.arange(count, dtype=torch.float64) + torch.as_tensor(uniform)) / count
    return (low + (high - low) * offsets).float()
