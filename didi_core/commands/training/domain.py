"""What the core must know of a program to train in it: one object, given to `pretrain`, `distill`.

Each program has one `TrainingDomain`: its words, its settings, and the functions that open, read
and write what is its own.
"""

import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import nn

from didi_core.cli.next_command import fresh_path
from didi_core.commands.training.settings import DistillSettings, PretrainSettings
from didi_core.data.corpus import Corpus
from didi_core.data.vocabulary import Vocabulary
from didi_core.models.denoiser import Denoiser
from didi_core.models.folder import LoadedModel

P = TypeVar("P", bound=PretrainSettings)
D = TypeVar("D", bound=DistillSettings)
T = TypeVar("T")


class PretrainTask(Protocol):
    """Tokens, data and networks of one pre-training."""

    @property
    def vocabulary(self) -> Vocabulary: ...

    @property
    def max_length(self) -> int:
        """Longer sequences are cropped to this many tokens."""
        ...

    def load_corpora(self, folder: Path, once: "Once") -> "Corpora":
        """Read what to train on, and the held-out corpus where there is one.

        Args:
            folder: of the run; a split that is there is kept by a run that is resumed.
            once: calls a function in the first process, and gives all what it returned.
        """
        ...

    def initial(self) -> LoadedModel | None:
        """Open the model whose weights training starts from; None for fresh ones.

        Raises:
            UserError: it cannot be opened, or not be trained on.
        """
        ...

    def build_denoiser(self, *, time_conditioned: bool) -> Denoiser:
        """Build a network that denoises, not yet initialised."""
        ...

    def build_causal(self) -> Any:
        """Build a Hugging Face causal LM, initialised from torch's global state."""
        ...

    def baselines(self, corpus: Corpus, held_out: Corpus) -> dict[str, NDArray[np.float64]]:
        """Return the nats [sequences] of held-out sequences under models that only count."""
        ...

    def known_before(self, model: LoadedModel, held_out: Corpus) -> int | None:
        """Count the held-out sequences that a model was trained on; None where nobody knows."""
        ...

    def save(
        self, folder: Path, model: nn.Module, card: str, extra_config: Mapping[str, Any]
    ) -> None:
        """Write the model folder.

        Args:
            extra_config: what `config.json` says beside the network's shape.
        """
        ...


class Once(Protocol):
    """Calls a function in the first process of a run."""

    def __call__(self, function: Callable[[], T], /) -> T:
        """Return what it returned, in every process."""
        ...


def alone(function: Callable[[], T], /) -> T:
    """Call a function: `Once` of a run of one process."""
    return function()


@dataclass(frozen=True)
class Corpora:
    """What a pre-training reads."""

    training: Corpus
    held_out: Corpus | None
    save: Callable[[Path], None] | None = None
    """Writes the files of a split made of `data=` into the run's folder; None where `data=` is
    trained on whole."""
    files: tuple[str, str] | None = None
    """Names of those files: what is trained on, and what is held out."""

    def names(self, settings: PretrainSettings) -> tuple[str, str | None]:
        """Return the names of the data trained on, and of the data held out."""
        return self.files or (settings.data, settings.valid)


@dataclass(frozen=True)
class TrainedOn:
    """What a model learnt from."""

    data: str | None
    """The setting `data=`; None where it learnt from no data of its own."""
    corpus: Corpus | None
    """Its sequences."""
    teacher: LoadedModel | None = None
    """The model that it learnt from or started from, and with it from that model's data."""


def unchanged(settings: T) -> T:
    """Return the settings as they are."""
    return settings


@dataclass(frozen=True)
class TrainingDomain(Generic[P, D]):
    """One program, as far as training asks for it."""

    program: str
    unit: str
    """What one token is called."""
    rows: str
    """What the sequences of a corpus are called, in the plural."""
    title: str
    """What a model is called on its card, after its kind."""
    tags: tuple[str, ...]
    """Of a masked model's card."""
    teachers: Mapping[str, str]
    """First sentence of a pre-trained model's card, by kind; of others it says little."""
    students: Mapping[str, str]
    """First sentences of a student's card, by kind of diffusion."""

    pretrain_settings: type[P]
    distill_settings: type[D]
    pretrain_config: str
    """The verb's configuration, as in configs/."""
    distill_config: str
    pretrain_groups: Callable[[P], Mapping[str, Iterable[str]]]
    """Configuration groups, as Hydra calls them, with what may have been chosen of them."""

    pretrain_problems: Callable[[P], list[str]]
    """What is wrong with the program's own settings of `pretrain`."""
    pretraining: Callable[[P], PretrainTask]
    length_flags: Callable[[str], str]
    """Flags of `generate` that ask for sequences as long as those of `data=`; may be empty."""
    judge_command: str
    """What an autoregressive model is used for, after the program's name; {model} is its folder."""
    judge_output: str
    """A name for what that command writes."""
    output: str
    """A name for the sequences that `generate` writes."""

    open_model: Callable[..., LoadedModel]
    """Opens a denoiser by bundled name, folder or hub id, on a `device`, `offline` or not; messages
    call the name by its `flag`."""
    load_corpus: Callable[[D, LoadedModel, int], Corpus]
    """The sequences of `data=` for a teacher, of at most so many tokens."""
    read_sequences: Callable[[str, LoadedModel, int, bool], Corpus]
    """The sequences of a file or name, for a model that reads at most so many tokens; offline or
    not."""
    pool_lengths: Callable[[D, int], list[int]]
    """Length of each sample of a teacher's pool, framing left out; none above the limit."""
    tokenizer_writer: Callable[[D, LoadedModel], Callable[[Path], None]] | None = None
    """What writes a teacher's tokenizer into a folder; None where `vocab.txt` will do."""
    record_data: Callable[[Path, TrainedOn], list[str]] | None = None
    """Writes beside a model what is kept of its training data, and returns their names, which stand
    as `didi.training_data` in `config.json`; None where a program keeps nothing."""
    lengths_vary: bool = False
    """Whether sequences have lengths of their own, which the model folder then records; blocks of
    text have not."""
    settle_pretrain: Callable[[P], P] = unchanged
    """Completes settings of `pretrain` by the model that training starts from."""
    samplers: Mapping[str, str] = field(default_factory=dict)
    """What students of a method are drawn with where that was found better than ancestral."""

    def generate_command(self, model: str, steps: int, lengths: str) -> str:
        """Return the command that draws from a model, into a file that is not there yet.

        Args:
            lengths: flags that ask for the lengths; may be empty.
        """
        words = [self.program, "generate", "--model", model, "--num", "100"]
        out = fresh_path(Path(self.output), ".generate.json")
        return f"{shlex.join(words)}{lengths} --steps {steps} --out {out}"

    def config_of_data(self, folder: Path, trained_on: TrainedOn) -> dict[str, Any]:
        """Write what is kept of the training data, and return what `config.json` says of them."""
        names = self.record_data(folder, trained_on) if self.record_data else []
        return {"training_data": names} if names else {}
