"""Contrast: the network's law, moved away from that of a weak copy of it.

The weak network A is a copy of the network T that was trained for a moment on T's own draws in few
steps (`method=contrast`, or what it leaves with `networks=two`). Those have the marginals of T, and
the dependences that few steps break are broken in them. So where A differs from T it lacks what few
steps lose, and the guided law at a state,

    log p* = log-softmax(log T + w (log T - log A)),

goes from A past T by w times the way. Where nothing is broken the two agree, and p* is T: unlike a
low temperature it sharpens nothing there. With w = 0 it is T, bit for bit. The form is that of
autoguidance [1]_; SIMS [2]_ and Neon [3]_ learn from a network's own draws, too.

Each call makes a pass of both networks, and counts two.

.. [1] arXiv 2406.02507.
.. [2] arXiv 2408.16333.
.. [3] arXiv 2510.03597.
"""

from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from didi_core.data.vocabulary import Vocabulary
from didi_core.errors import UserError
from didi_core.models.denoiser import Denoiser
from didi_core.models.folder import LoadedModel
from didi_core.models.joint_head import JointHead
from didi_core.models.noise import NoiseKeys
from didi_core.models.positions import Places
from didi_core.models.weak_file import (
    MOST_WEIGHT,
    POSITIONS,
    POSITIONS_KEY,
    WEIGHT_KEY,
    load_weak,
)
from didi_core.sampling.ancestral import ancestral
from didi_core.sampling.apart import ApartSampler, ApartSettings
from didi_core.sampling.predictor import Prediction, Predictor
from didi_core.sampling.request import Sampler
from didi_core.sampling.sampler_spec import SamplerSpec

STORED = "stored"


def guided_log_probs(
    strong: Float[Tensor, "n k"], weak: Float[Tensor, "n k"], weight: float
) -> Float[Tensor, "n k"]:
    """Return log p* = log-softmax(log T + w (log T - log A)), in the type of `strong`.

    What T rules out stays ruled out. Where A rules out what T does not, the difference is infinite:
    then only such tokens are left, by T ** (1 + w), the limit of equal small probabilities of A.

    Args:
        strong: log T, normalised.
        weak: log A, normalised.
        weight: w, above 0.
    """
    # log A + (1 + w) (log T - log A); lerp needs no copy more, which with 50,000 tokens is large.
    guided = torch.lerp(weak, strong, 1.0 + weight)
    if not guided.isfinite().all():
        impossible = strong == -torch.inf
        infinite = (weak == -torch.inf) & ~impossible
        ruled_out = impossible | (infinite.any(-1, keepdim=True) & ~infinite)
        guided = torch.where(infinite, (1.0 + weight) * strong, guided)
        guided = guided.masked_fill(ruled_out, -torch.inf)
    return guided.log_softmax(-1)


@dataclass(frozen=True)
class ContrastPredictor:
    """Predicts by the guided law of two networks."""

    strong: Predictor
    weak: Predictor
    weight: float
    """w; at 0 the weak network is not asked."""

    @property
    def denoiser(self) -> Any:
        """Return the strong network, by whose attention positions are chosen."""
        return self.strong.denoiser

    @property
    def vocabulary(self) -> Vocabulary:
        return self.strong.vocabulary

    @property
    def joint_head(self) -> JointHead | None:
        return self.strong.joint_head

    @property
    def passes(self) -> int:
        """Return the passes of a whole trunk that one call makes for each row."""
        return self.strong.passes + (self.weak.passes if self.weight else 0)

    def predict(
        self,
        tokens: Int[Tensor, "batch width"],
        lengths: Int[Tensor, "batch"],
        at: Places,
        keys: NoiseKeys | None = None,
        alpha: float | Float[Tensor, "batch"] | None = None,
    ) -> Prediction:
        """Return log p* where `at` is True, in row-major order.

        A joint head corrects it as it would the strong network's own law, whose states it reads.

        Args:
            at: a function is asked once, after the strong network's blocks were called.
        """
        if not self.weight:
            return self.strong.predict(tokens, lengths, at, keys, alpha)
        chosen = at

        def choose() -> Bool[Tensor, "batch width"]:
            nonlocal chosen
            assert not isinstance(at, Tensor)
            chosen = at()
            return chosen

        places = at if isinstance(at, Tensor) else choose
        strong = self.strong.predict(tokens, lengths, places, keys, alpha)
        weak = self.weak.log_probs(tokens, lengths, chosen, keys, alpha)
        return replace(strong, log_probs=guided_log_probs(strong.log_probs, weak, self.weight))


@dataclass(frozen=True)
class ContrastOptions:
    """Settings of the guided law, and of how positions are chosen."""

    weight: str | float = STORED
    """w, from 0 to 100; stored: as the model's folder says, else 1."""
    positions: str = STORED
    """random as `ancestral` chooses them, or apart; stored: as the model's folder says, else
    random."""
    threshold: float = ApartSettings.threshold
    """That of `apart`, with positions=apart."""

    def problems(self) -> list[str]:
        """Return what is wrong with the values, each with the setting's name."""
        wrong = []
        if self.weight != STORED and not _is_weight(self.weight):
            wrong.append(
                f"weight={self.weight} must be a number from 0 to {MOST_WEIGHT:g}, or {STORED}"
            )
        if self.positions not in (*POSITIONS, STORED):
            wrong.append(f"positions={self.positions} must be random, apart or {STORED}")
        if self.positions == "random" and self.threshold != ApartSettings.threshold:
            wrong.append(f"threshold={self.threshold} is of positions=apart: leave it out")
        return wrong + ApartSettings(self.threshold).problems()


def _is_weight(value: str | float) -> bool:
    try:
        return 0 <= float(value) <= MOST_WEIGHT
    except ValueError:
        return False


def _build(predictor: Predictor, model: LoadedModel, options: ContrastOptions) -> Sampler:
    own = model.config.get("didi") or {}
    weight = own.get(WEIGHT_KEY, 1.0) if options.weight == STORED else options.weight
    positions = options.positions
    if positions == STORED:
        positions = own.get(POSITIONS_KEY, POSITIONS[0])
    network = load_weak(cast(Denoiser, model.denoiser), model.extras["weak"])
    weak = Predictor(network, model.vocabulary, on_call=predictor.on_call)
    both = ContrastPredictor(predictor, weak, float(weight))
    if positions == "apart":
        return ApartSampler(both, ApartSettings(options.threshold))
    if options.threshold != ApartSettings.threshold:
        raise UserError(
            f"--sampler contrast(threshold={options.threshold:g}): --model {model.name} names "
            "positions at random, which take none: add positions=apart."
        )
    return ancestral(both)


ENTRY = SamplerSpec(
    "contrast",
    _build,
    summary="away from what few steps make of the model: asks a weak network, too",
    reads_joint_head=True,
    calls="at most two a step: a pass of both networks",
    exact="no",
    has_published_grid=False,
    settings=ContrastOptions,
    needs=("weak",),
    found_in="a folder that method=contrast left with method.networks=two",
)
