"""The noise processes by name, and what training, bounds and samplers ask of each.

A name stands for the noise and for what the network predicts of it. To add one, write it as
`absorbing.py`, `uniform.py` and `score_entropy.py` are written, and name it in `PROCESSES`.
"""

from typing import Protocol, runtime_checkable

from jaxtyping import Bool, Float, Int
from torch import Tensor

from didi_core.data.vocabulary import Vocabulary
from didi_core.diffusion.absorbing import AbsorbingProcess
from didi_core.diffusion.schedules import LogLinearSchedule, Schedule
from didi_core.diffusion.score_entropy import ScoreEntropyProcess
from didi_core.diffusion.uniform import UniformProcess

PROCESSES = ("absorbing", "uniform", "sedd")
IN_WORDS = {"absorbing": "masked", "uniform": "uniform-state", "sedd": "score-entropy"}
"""What models of a process are called."""
DEFAULT_PROCESS = "absorbing"
"""Of model folders that name none."""


@runtime_checkable
class Process(Protocol):
    """A forward process over token ids, and the bound of the model that reverses it."""

    @property
    def schedule(self) -> Schedule: ...

    def corrupt(
        self,
        tokens: Int[Tensor, "batch width"],
        maskable: Bool[Tensor, "batch width"],
        t: Float[Tensor, "batch"],
        uniform: Float[Tensor, "batch width"],
    ) -> Int[Tensor, "batch width"]:
        """Draw z_t; only `maskable` positions change."""
        ...

    def predicted(
        self, noised: Int[Tensor, "batch width"], maskable: Bool[Tensor, "batch width"]
    ) -> Bool[Tensor, "batch width"]:
        """Mark the positions of z_t at which the bound needs the network's prediction."""
        ...

    def log_prediction(self, logits: Float[Tensor, "n generable"]) -> Float[Tensor, "n generable"]:
        """Return what the network's logits at predicted positions mean, as the terms below want it.

        Log-probabilities, but for `sedd`, whose predictions need not sum to one.
        """
        ...

    def bound_terms(
        self,
        log_probs: Float[Tensor, "n generable"],
        clean: Int[Tensor, "n"],
        noised: Int[Tensor, "n"],
        t: Float[Tensor, "n"],
    ) -> Float[Tensor, "n"]:
        """Return each predicted position's part of the bound on -log p(x), in nats.

        Args:
            log_probs: from `log_prediction`.
            clean: rank of the true token among the generable ones.
            noised: rank of z_t; -1 where it is not generable.
            t: time of the position's row.
        """
        ...

    def denoising_terms(
        self,
        log_probs: Float[Tensor, "n generable"],
        clean: Int[Tensor, "n"],
        noised: Int[Tensor, "n"],
        t: Float[Tensor, "n"],
    ) -> Float[Tensor, "n"]:
        """Return -log p(x_l | z_t) of each predicted position, in nats; see `bound_terms`."""
        ...


def build_process(
    name: str, vocabulary: Vocabulary, schedule: LogLinearSchedule | None = None
) -> Process:
    """Build the process of that name, one of `PROCESSES`; eps is 0 where no schedule is given."""
    assert name in PROCESSES
    schedule = schedule or LogLinearSchedule()
    if name == "uniform":
        return UniformProcess(vocabulary.generable_ids, schedule)
    if name == "sedd":
        return ScoreEntropyProcess(vocabulary.mask_id, schedule)
    return AbsorbingProcess(vocabulary.mask_id, schedule)


def kind_of(process: str) -> str:
    """Return what model cards and their tags call a model of the process.

    >>> kind_of("absorbing"), kind_of("sedd"), kind_of("autoregressive")
    ('masked', 'sedd', 'autoregressive')
    """
    return "masked" if process == DEFAULT_PROCESS else process


def article_of(process: str) -> str:
    """Return what a model of the process is called, with its article.

    >>> article_of("absorbing"), article_of("autoregressive")
    ('a masked', 'an autoregressive')
    """
    words = IN_WORDS.get(process, process)
    return f"{'an' if words[0] in 'aeio' else 'a'} {words}"
