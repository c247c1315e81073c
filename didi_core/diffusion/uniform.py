"""The uniform process: a token is kept with probability alpha(t), else becomes any generable one.

Sources: Duo [1]_ and UDLM [2]_. K is the number of generable tokens: special ones are never drawn,
and positions that are not `maskable` are never touched. Nothing marks a position as noised, so
that the network is told the time and predicts every position, and a sampler can still change any.

What the posterior and the bound take for x is the network's prediction x_theta. For an exact
reverse process it is p(x_l | the other positions of z_t), not p(x_l | z_t): the position's own
token enters through the formulas.

.. [1] Sahoo et al. "The diffusion duality", arXiv 2506.10892.
.. [2] Schiff et al. "Simple guidance mechanisms for discrete diffusion models", arXiv 2412.10193.
"""

from dataclasses import dataclass, field
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from didi_core.diffusion.schedules import LogLinearSchedule, Schedule

_SMALLEST = 1e-20
"""In place of an alpha, or of a 1 - alpha, that rounds to zero."""


@dataclass(frozen=True)
class UniformProcess:
    """Forward corruption, reverse posterior and likelihood bound of uniform-state diffusion."""

    generable_ids: tuple[int, ...]
    schedule: Schedule = field(default_factory=LogLinearSchedule)

    @property
    def num_tokens(self) -> int:
        return len(self.generable_ids)

    @cached_property
    def _ids(self) -> Int[Tensor, "generable"]:
        return torch.tensor(self.generable_ids)

    def corrupt(
        self,
        tokens: Int[Tensor, "batch width"],
        maskable: Bool[Tensor, "batch width"],
        t: Float[Tensor, "batch"],
        uniform: Float[Tensor, "batch width"],
    ) -> Int[Tensor, "batch width"]:
        """Draw z_t: each maskable token is kept with probability alpha(t), else drawn uniformly.

        The drawn token may be the one that stood there. At t = 1 this is the prior.
        """
        alpha = self.schedule.alpha(t.double()).unsqueeze(-1)
        # One number decides both: given that it is past alpha, the rest of it is uniform again.
        rest = (uniform - alpha) / (1.0 - alpha).clamp_min(_SMALLEST)
        rank = (rest.clamp(0.0, 1.0) * self.num_tokens).long().clamp_max(self.num_tokens - 1)
        drawn = self._ids.to(tokens.device)[rank]
        return torch.where(maskable & (uniform >= alpha), drawn, tokens)

    def predicted(
        self, noised: Int[Tensor, "batch width"], maskable: Bool[Tensor, "batch width"]
    ) -> Bool[Tensor, "batch width"]:
        """Mark where the network's prediction enters the bound: wherever a token may be noise."""
        del noised
        return maskable

    def log_prediction(self, logits: Float[Tensor, "n generable"]) -> Float[Tensor, "n generable"]:
        """Return log x_theta: normalised log-probabilities."""
        return logits.log_softmax(-1)

    def reverse_posterior(
        self,
        probs: Float[Tensor, "n generable"],
        noised: Int[Tensor, "n"],
        alpha_t: float,
        alpha_s: float,
    ) -> Float[Tensor, "n generable"]:
        """Return q(z_s | z_t, x ~ p): probabilities of the generable tokens (Duo, equation 5).

        With a = alpha_t / alpha_s and e the one-hot of z_t it is [K alpha_t e * x
        + (a - alpha_t) e + (alpha_s - alpha_t) x + (1 - a)(1 - alpha_s) / K]
        / [K alpha_t x(z_t) + 1 - alpha_t].

        Args:
            probs: x, the network's prediction or a one-hot vector.
            noised: rank of z_t among the generable tokens.
            alpha_t: of the state at hand, below 1.
            alpha_s: of the state to come, above alpha_t.
        """
        ratio, at = alpha_t / alpha_s, noised.unsqueeze(-1)
        # First what every token j has: (alpha_s - alpha_t) x_j + (1 - a)(1 - alpha_s) / K. Then
        # what z_t has beside: K alpha_t x(z_t) + a - alpha_t. The whole sums to the denominator.
        own = self.num_tokens * alpha_t * probs.gather(-1, at)
        change = (1.0 - ratio) * (1.0 - alpha_s) / self.num_tokens
        joint = (alpha_s - alpha_t) * probs + change
        joint = joint.scatter_add(-1, at, own + (ratio - alpha_t))
        return joint / (own + (1.0 - alpha_t))

    def forward(
        self, probs: Float[Tensor, "*n generable"], alpha: float
    ) -> Float[Tensor, "*n generable"]:
        """Return q(z | x ~ p) at `alpha`: probabilities of the generable tokens."""
        return alpha * probs + (1.0 - alpha) / self.num_tokens

    def bound_terms(
        self,
        log_probs: Float[Tensor, "n generable"],
        clean: Int[Tensor, "n"],
        noised: Int[Tensor, "n"],
        t: Float[Tensor, "n"],
    ) -> Float[Tensor, "n"]:
        """Return each position's part of a one-sample estimate of the bound on -log p(x), in nats.

        The Rao-Blackwellised form (Duo, section 3.3): true and predicted rates of change from
        z_t to every token j, r_j and s_j, enter as sum_j [s_j - r_j + r_j log(r_j / s_j)], and
        since r_j takes only two values the sums need neither one-hot vectors nor draws of j. With
        beta = K alpha / (1 - alpha) and f_j = 1 + beta x_theta(j), s_j = f_j / f(z_t); r_j is the
        same with the one-hot of the true token for x_theta. All terms are written in beta, so that
        nothing cancels at alpha near 0 or 1. The mean over t, uniform in (0, 1), of a sequence's
        sum bounds -log p(x).

        Args:
            log_probs: of x_theta over the generable tokens.
            clean: rank of the true token among them.
            noised: rank of z_t.
            t: time of the position's row.
        """
        size, unmoved = self.num_tokens, clean == noised
        beta = self._signal(t).to(log_probs.dtype)
        probs = log_probs.exp()
        log_f = torch.log1p(beta.unsqueeze(-1) * probs)
        log_f_noised = log_f.gather(-1, noised.unsqueeze(-1)).squeeze(-1)
        log_f_clean = log_f.gather(-1, clean.unsqueeze(-1)).squeeze(-1)
        # log s_j = log f_j - log f(z_t), summed over all K; gain is log f of a one-hot's token.
        sum_log_s = log_f.sum(-1) - size * log_f_noised
        gain = torch.log1p(beta)

        # Sums of s_j and of r_j are (K + beta) / f(z_t), and the same with the one-hot's f.
        excess = unmoved.to(probs) - probs.gather(-1, noised.unsqueeze(-1)).squeeze(-1)
        difference = (size + beta) * beta * excess * (-log_f_noised - gain * unmoved).exp()
        # sum_j r_j log(r_j / s_j). Where z_t is the true token, r_j = 1 / (1 + beta) for the K - 1
        # others and its own term is 0; where it is not, r_j = 1, and 1 + beta at the true token.
        kept = -((size - 1) * gain + sum_log_s) / (1.0 + beta)
        moved = (1.0 + beta) * gain - beta * (log_f_clean - log_f_noised) - sum_log_s
        divergence = difference + torch.where(unmoved, kept, moved)
        # weight / beta = -alpha' / (K alpha): the rate at which a token jumps to each other one.
        return self.schedule.weight(t).to(log_probs.dtype) / beta * divergence

    def denoised(
        self,
        log_probs: Float[Tensor, "n generable"],
        noised: Int[Tensor, "n"],
        t: Float[Tensor, "n"],
    ) -> Float[Tensor, "n generable"]:
        """Return log p(x_l | z_t) of each position, the reverse posterior at alpha_s = 1.

        x_theta leaves the position's own token out, and this puts it back: p(x_l = j | z_t)
        = x_theta(j) (1 + beta [j = z_t]) / (1 + beta x_theta(z_t)). Arguments as in `bound_terms`.
        """
        beta, at = self._signal(t).to(log_probs.dtype).unsqueeze(-1), noised.unsqueeze(-1)
        whole = torch.log1p(beta * log_probs.gather(-1, at).exp())
        return (log_probs - whole).scatter_add(-1, at, torch.log1p(beta))

    def denoising_terms(
        self,
        log_probs: Float[Tensor, "n generable"],
        clean: Int[Tensor, "n"],
        noised: Int[Tensor, "n"],
        t: Float[Tensor, "n"],
    ) -> Float[Tensor, "n"]:
        """Return -log p(x_l | z_t) of each position, in nats: `denoised` at the true token alone.

        Were x_theta scored itself, the network would learn p(x_l | z_t), which is wrong in the
        formulas above. Arguments as in `bound_terms`.
        """
        beta = self._signal(t).to(log_probs.dtype)
        log_clean = log_probs.gather(-1, clean.unsqueeze(-1)).squeeze(-1)
        log_noised = log_probs.gather(-1, noised.unsqueeze(-1)).squeeze(-1)
        own = torch.log1p(beta) * (clean == noised)
        return torch.log1p(beta * log_noised.exp()) - log_clean - own

    def _signal(self, t: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
        """Return beta = K alpha / (1 - alpha), in float64: float32 has no 1 - alpha at small t."""
        alpha = self.schedule.alpha(t.double())
        odds = alpha.clamp_min(_SMALLEST) / (1.0 - alpha).clamp_min(_SMALLEST)
        return self.num_tokens * odds
