"""What a joint head costs: sampling with one against the same network without, timed.

How many passes of the head a call takes depends on how strongly it corrects. Weights are random,
so it is said beside the ratio; `one_pass` is what each of them adds to a plain call, and with it
the cost of a trained head follows from the passes that `generate` reports of it.
"""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import nn

from benchmarks.speed.alternate import alternate, quartiles
from benchmarks.speed.layouts import LAYOUTS
from benchmarks.speed.plan import Cell
from benchmarks.speed.sampling_cells import build_priors
from didi_core.data.vocabulary import Vocabulary
from didi_core.models.denoiser import Denoiser
from didi_core.models.joint_head import JointHead
from didi_core.models.joint_head_file import head_for
from didi_core.sampling.ancestral import ancestral
from didi_core.sampling.predictor import Predictor
from didi_core.sampling.request import Prior, SampleSettings
from didi_core.training.devices import TORCH_TYPES

STRENGTH = 0.5
"""Standard deviation of the corrections, in nats, before they are normalised."""


@dataclass(frozen=True)
class Drawing:
    """A sampler of one network, which counts the passes of its head."""

    predictor: Predictor
    priors: list[Prior]
    settings: SampleSettings
    passes: list[float] = field(default_factory=list)
    """Of the last run: mean of each row, a step."""

    def __call__(self) -> None:
        self.passes.clear()
        for prior in self.priors:
            drawn = ancestral(self.predictor).sample(prior, self.settings)
            if drawn.head_passes is not None:
                self.passes.extend((drawn.head_passes / self.settings.steps).tolist())


def head_cell(cell: Cell, device: torch.device, precision: str) -> dict[str, Any]:
    """Return the record of a cell of kind head."""
    layout = LAYOUTS[cell.layout]
    network = layout.build().to(device, TORCH_TYPES[precision])
    head = random_head(network, layout.vocabulary).to(device, TORCH_TYPES[precision])
    predictor = partial(Predictor, network, layout.vocabulary)
    priors = build_priors(cell, layout.vocabulary, device)
    settings = SampleSettings(steps=cell.steps)
    joint = Drawing(predictor(joint_head=head), priors, settings)
    plain = Drawing(predictor(), priors, settings)
    timed = alternate({"joint": joint, "plain": plain}, cell.repeats, device)
    record = timed.record([("joint", "plain")])
    passes = sum(joint.passes) / len(joint.passes)
    ratios = [a / b for a, b in zip(timed.seconds["joint"], timed.seconds["plain"], strict=True)]
    added = quartiles([(ratio - 1) / passes for ratio in ratios])
    return record | {"work": {"head_passes": passes}, "one_pass": added}


def random_head(network: Denoiser, vocabulary: Vocabulary) -> JointHead:
    """Return a head of the network's width whose corrections are random."""
    head = head_for(network, vocabulary.num_generable)
    head.initialise(seed=0)
    nn.init.normal_(head.out.weight, std=STRENGTH * head.out.in_features**-0.5)
    return head.eval().requires_grad_(False)
