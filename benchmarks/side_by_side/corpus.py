"""What a corpus of the study brings, and what both have in common."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from didi_core.cli.hydra_app import compose_settings
from didi_core.evaluation.bounds import BoundSamples, bound_samples
from didi_core.evaluation.frontier import FrontierPoint
from didi_core.evaluation.judge import causal_nll
from didi_core.models.causal import CausalNetwork
from didi_core.models.folder import LoadedModel

MUON = (
    "optimizer.name=muon",
    "optimizer.lr=0.003",
    "optimizer.muon_lr=0.006",
    "optimizer.betas=[0.9,0.98]",
    "optimizer.warmup_steps=100",
)
"""What teaches a small network quickest, of either process."""
SHAPE = ("model.num_layers=4", "model.hidden_size=128", "model.num_heads=4")
PRETRAIN = (*MUON, *SHAPE, "tokens_per_batch=4096")
"""What `pretrain` is told of either corpus."""
DISTILL = ("tokens_per_batch=2560",)
TEACHER_UPDATES = 1_600
STUDENT_UPDATES = 300
BOUND_DRAWS = 8
"""Times drawn for each sequence."""
BOUND_SEQUENCES = 256
"""Most sequences that a bound rests on: the first of the file."""


@dataclass(frozen=True)
class Verb:
    """A command that takes key=value settings, called from Python."""

    config: str
    settings: type
    function: Callable[[Any], object]

    def __call__(self, *overrides: str) -> None:
        """Run it with what its command line would compose."""
        self.function(compose_settings(self.config, self.settings, overrides))


@dataclass(frozen=True)
class Corpus:
    """How one domain takes part."""

    verbs: Mapping[str, Verb]
    """pretrain and distill."""
    train: str
    """Within the folder of the data, as `held_out`."""
    held_out: str
    suffix: str
    """Of a file of samples."""
    told: Mapping[str, tuple[str, ...]]
    """What each verb is told."""
    lengths: Callable[[Path, Path], str]
    """(held-out data, scratch folder) to the value of --length."""
    generate: Callable[..., object]
    """The command of the domain, by the names of its flags."""
    judge: Callable[[Path, float], FrontierPoint]
    """(file of samples, their temperature) to judge NLL and diversity."""
    bound: Callable[[Path, Path], dict[str, Any]]
    """(model folder, data) to the likelihood bound, of an autoregressive model the likelihood."""
    write_natural: Callable[[Path, Path, int, bool], int]
    """(data, file to write, how many at most, whether each is shuffled) to how many there are."""
    teacher_updates: int = TEACHER_UPDATES
    student_updates: int = STUDENT_UPDATES


def bound_of(model: LoadedModel, ids: Sequence[Sequence[int]]) -> dict[str, Any]:
    """The bound by the model's own process, and what it is made of, to pair with another's.

    Of an autoregressive model it is the likelihood itself, the end of a protein not scored; the
    standard error is then of the sequences alone.
    """
    kept, network = ids[:BOUND_SEQUENCES], model.denoiser
    if isinstance(network, CausalNetwork):
        samples = exact_samples(network, kept)
    else:
        told = {"process": model.process, "draws": BOUND_DRAWS}
        samples = bound_samples(network, model.vocabulary, kept, **told)
    record = asdict(samples.estimate())
    return record | {
        "nats_of_each_sequence": samples.per_sequence().round(4).tolist(),
        "tokens_of_each_sequence": samples.lengths.tolist(),
    }


def exact_samples(network: CausalNetwork, ids: Sequence[Sequence[int]]) -> BoundSamples:
    """The likelihood of each sequence, which needs no draws; a first token that is given is free.

    Blocks of text begin with the end of text from which the network starts.
    """
    drawn = [each[1:] if each[0] == network.start_id else each for each in ids]
    nats = causal_nll(network.network, drawn, network.start_id) * np.array(list(map(len, drawn)))
    return BoundSamples(nats[None], np.ones((1, len(ids))), np.array(list(map(len, ids))))
