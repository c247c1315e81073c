"""What a corpus of the study brings, and what both have in common."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import hydra

from didi_core.evaluation.bounds import bound_samples
from didi_core.evaluation.frontier import FrontierPoint
from didi_core.hydra_app import config_folder, settings_from
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
        with hydra.initialize_config_dir(str(config_folder()), version_base="1.3"):
            settings = settings_from(hydra.compose(self.config, list(overrides)), self.settings)
        self.function(settings)


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
    """(model folder, data) to the likelihood bound and its standard error."""
    teacher_updates: int = TEACHER_UPDATES
    student_updates: int = STUDENT_UPDATES


def bound_of(model: LoadedModel, ids: Sequence[Sequence[int]]) -> dict[str, Any]:
    """The bound by the model's own process, and what it is made of, to pair with another's."""
    samples = bound_samples(
        model.denoiser,
        model.vocabulary,
        ids[:BOUND_SEQUENCES],
        process=model.process,
        draws=BOUND_DRAWS,
    )
    record = asdict(samples.estimate())
    return record | {
        "nats_of_each_sequence": samples.per_sequence().round(4).tolist(),
        "tokens_of_each_sequence": samples.lengths.tolist(),
    }
