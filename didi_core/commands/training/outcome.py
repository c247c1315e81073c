"""What `pretrain` says at its end: figures of held-out sequences, a verdict, the next commands."""

import shlex
from dataclasses import dataclass, replace
from pathlib import Path

from didi_core.cli.next_command import fresh_folder, fresh_path
from didi_core.commands.training.domain import Corpora, D, P, PretrainTask, TrainingDomain
from didi_core.commands.training.held_out import HeldOutNats
from didi_core.commands.training.model_card import command_line
from didi_core.commands.training.verdict import (
    LONGER,
    Before,
    has_learnt,
    standings,
    verdict,
)
from didi_core.diffusion.process import DEFAULT_PROCESS
from didi_core.distill.registry import METHODS
from didi_core.models.folder import LoadedModel
from didi_core.training.run_folder import read_metrics


@dataclass(frozen=True)
class Begun:
    """What a training started from."""

    model: LoadedModel
    measured: HeldOutNats | None
    """Held-out sequences under its weights as they were; None where that was not measured."""


@dataclass(frozen=True)
class Outcome:
    """What a finished run says of its model."""

    scores: dict[str, float]
    """Nats a token of held-out sequences under the model and others; empty without any."""
    verdict: str | None
    """The sentence; None without held-out sequences."""
    next_commands: tuple[str, ...]

    @classmethod
    def of(
        cls,
        settings: P,
        domain: TrainingDomain[P, D],
        task: PretrainTask,
        corpora: Corpora,
        measured: HeldOutNats | None,
        begun: Begun | None,
    ) -> "Outcome":
        """Hold the model against models that only count.

        Args:
            begun: the model that training started from.
        """
        onwards = _next_commands(settings, domain, corpora)
        if measured is None or corpora.held_out is None:
            return cls({}, None, onwards)
        held_out = corpora.held_out.cropped(task.max_length)
        others = task.baselines(corpora.training, held_out)
        tokens = int(held_out.lengths.sum())
        scores = measured.figures | {
            name: float(nats.sum() / tokens) for name, nats in others.items()
        }
        found = standings(measured, others, held_out.lengths)
        before = None
        if begun is not None and begun.measured is not None:
            own = standings(begun.measured, others, held_out.lengths)
            before = Before.of(f"init={begun.model.name}", measured, begun.measured, own)
        lines = read_metrics(Path(settings.out))
        text = verdict(found, measured, lines, settings, domain.unit, before)
        if begun is not None and begun.measured is None:
            text += (
                f" How much of this init={begun.model.name} already had was not measured: "
                "processes share the network."
            )
        if begun is not None and (known := task.known_before(begun.model, held_out)):
            text += (
                f" {known:,} of the held-out sequences were training data of "
                f"init={begun.model.name}: these figures flatter the model."
            )
        goes_on = has_learnt(found, before)
        return cls(scores, text, onwards if goes_on else (_longer(settings, domain),))

    @property
    def lines(self) -> list[str]:
        """What is printed at the end."""
        said = [] if self.verdict is None else [self.verdict]
        return [*said, *(f"Next: {each}" for each in self.next_commands)]


def _next_commands(settings: P, domain: TrainingDomain[P, D], corpora: Corpora) -> tuple[str, ...]:
    """Return what may be done with a model that has learnt, as commands."""
    trained_on, held_out = corpora.names(settings)
    out, data = shlex.quote(settings.out), shlex.quote(trained_on)
    program = domain.program
    if settings.model.kind == "autoregressive":
        table = fresh_path(Path(domain.judge_output), ".summary.json")
        return (f"{program} {domain.judge_command.format(model=out)} --out {table}",)
    fitting = [name for name, each in METHODS.items() if each.process == settings.process]
    method = "best" if settings.process == DEFAULT_PROCESS else next(iter(fitting), None)
    commands = []
    if method is not None:
        student = shlex.quote(str(fresh_folder(Path(f"{settings.out}-student"))))
        commands.append(
            f"{program} distill teacher={out} method={method} data={data} out={student}"
        )
    if settings.process == DEFAULT_PROCESS:
        commands.append(f"{program} headroom {out} --data {shlex.quote(held_out or trained_on)}")
    return (*commands, domain.generate_command(settings.out, 64, domain.length_flags(data)))


def _longer(settings: P, domain: TrainingDomain[P, D]) -> str:
    """Return the command that goes on with a run."""
    longer = replace(settings, steps=LONGER * settings.steps)
    groups = domain.pretrain_groups(settings)
    given = command_line(domain.program, "pretrain", longer, domain.pretrain_config, groups)
    return f"{given} resume=true"
