"""What `distill` does in both programs: from a teacher to a student's model folder.

A program's `TrainingDomain` says how the teacher and the reference data are opened.
"""

import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import nn

from didi_core.cli.hydra_app import as_plain
from didi_core.commands.generating.domain import length_limit
from didi_core.commands.headroom.estimate import teacher_line
from didi_core.commands.training.distill_checks import (
    check_apart,
    check_process,
    distill_problems,
)
from didi_core.commands.training.domain import D, P, TrainedOn, TrainingDomain
from didi_core.commands.training.drawn_pool import draw_pool
from didi_core.commands.training.memory import print_plan, say_memory, settled
from didi_core.commands.training.model_card import (
    added_section,
    card,
    command_line,
    lengths_fact,
)
from didi_core.commands.training.run_folder import (
    check_run_folder,
    loop_settings,
    opening_device,
    passes_of,
    prepared_run,
    training_fabric,
)
from didi_core.commands.training.settings import DistillSettings
from didi_core.commands.training.student_verdict import (
    COMPARED,
    compare_command,
    comparison_seconds,
    student_verdict,
)
from didi_core.data.corpus import Corpus
from didi_core.data.length_ranges import TRAINED_LENGTHS, LengthRanges
from didi_core.diffusion.process import DEFAULT_PROCESS, article_of, kind_of
from didi_core.distill.joint_head import NAME as JOINT_HEAD
from didi_core.distill.joint_head import JointHeadSettings, WithJointHead
from didi_core.distill.method import Distillation, Method, SharedSettings
from didi_core.distill.pool import check_pool_steps
from didi_core.distill.reference import GroupedReference
from didi_core.distill.registry import METHODS, method_settings
from didi_core.distill.student import DistilledStudent
from didi_core.errors import UserError
from didi_core.models.folder import LoadedModel, save_model_folder
from didi_core.models.hub import HEADROOM, TRAINING_SKETCH
from didi_core.models.noise import MaskNoise, without_noise
from didi_core.models.noise_file import save_noise
from didi_core.models.recompute import checkpoint_activations
from didi_core.models.weight_files import EXTRA_FILES
from didi_core.progress import readable_time
from didi_core.sampling.request import SampleSettings
from didi_core.training.loop import train

LONG_COMPARISON = 600.0
"""Seconds from which the command that compares is printed with the time it takes."""


def distill(settings: D, domain: TrainingDomain[P, D]) -> Path:
    """Distil `settings.teacher` and save the student as a model folder in `settings.out`.

    Returns:
        The folder.

    Raises:
        UserError: settings without sense, all at once; an output that exists, or unreadable input.
    """
    run = DistillRun(settings, domain)
    return run.print_plan() if run.settings.plan else run.run()


class DistillRun:
    """One distillation: settings that were checked, and what they come to.

    Raises:
        UserError: settings without sense, all at once.
    """

    def __init__(self, settings: DistillSettings, domain: TrainingDomain[Any, Any]) -> None:
        self.domain = domain
        self.name, self.chosen = method_settings(settings.method)
        self.shared = SharedSettings.of(self.chosen)
        # From Python it may be given in part; what is recorded and compared is the whole of it.
        method = {"name": self.name, **as_plain(self.chosen)}
        self.settings = settled(replace(settings, method=method))
        if wrong := distill_problems(self.settings, self.name, self.shared, self.sampler):
            raise UserError("; ".join(wrong) + ".")

    @property
    def sampler(self) -> str | None:
        """What the student's folder names for `generate`; None: the plain one."""
        return self.shared.sampler or self.domain.samplers.get(self.name)

    def open_teacher(self, device: torch.device) -> LoadedModel:
        """Open the teacher, of the process that the method distils.

        Raises:
            UserError: it cannot be opened, or is of another process.
        """
        settings = self.settings
        teacher = self.domain.open_model(
            settings.teacher, device=device, offline=settings.offline, flag="teacher="
        )
        check_process(self.name, teacher)
        return teacher

    def run(self) -> Path:
        """Train the student and save it; see `distill`."""
        settings = self.settings
        folder = Path(settings.out)
        check_run_folder(folder, "distill", settings)
        fabric = training_fabric(settings)
        teacher = self.open_teacher(opening_device(fabric))
        check_apart(settings, teacher)
        if settings.reference == "pool":
            check_pool_steps(teacher.process, settings.pool_steps)
        corpus = None
        if settings.reference == "data":
            corpus = self.domain.load_corpus(settings, teacher, self.longest(teacher))
        with prepared_run(folder, "distill", settings, fabric):
            if corpus is None:
                lengths = self.domain.pool_lengths(settings, self.longest(teacher))
                corpus = draw_pool(teacher, lengths, settings, self.domain.unit, fabric)
            if settings.checkpoint_activations:
                checkpoint_activations(teacher.denoiser)  # what trains is copied from it
            method = self.build_method(teacher, corpus)
            say_memory(method, settings, fabric)
            self._say_small_batches(method.reference.fewest_groups, fabric)
        done = train(method, loop_settings(settings), folder, fabric, validate=None)
        # Of networks in shards every process has to ask for the whole.
        own = method.folder_defaults()
        text = self.card(done, len(corpus), teacher.trained_lengths, own)
        text += self._added_section(method, teacher, corpus)
        student, extras = method.result(), method.extra_weights()
        if fabric.is_global_zero:
            trained_on = TrainedOn(None, None, teacher)
            if settings.reference == "data":
                trained_on = TrainedOn(settings.data, corpus, teacher)
            self.save(folder, student, extras, teacher, text, own, trained_on)
            if fabric.world_size == 1:
                self._print_headroom(teacher, corpus)
            print(f"The student is in {folder}.", file=sys.stderr)
            if settings.verdict and fabric.world_size == 1:
                self._print_verdict(folder, teacher, corpus)
        return folder

    def _print_verdict(self, folder: Path, teacher: LoadedModel, corpus: Corpus) -> None:
        """Say how the student stands beside its teacher, and how to draw and to compare."""
        device = next(teacher.denoiser.parameters()).device
        steps, seed, seconds = self.shared.student_steps, self.settings.seed, 0.0
        lengths = corpus.lengths.clip(max=self.longest(teacher)).tolist()
        try:
            student = self.domain.open_model(
                str(folder.resolve()), device=device, offline=True, flag="out="
            )
            print(
                student_verdict(student, teacher, lengths, steps, seed, self.domain.unit),
                file=sys.stderr,
            )
            seconds = comparison_seconds(student, teacher, lengths, steps, seed)
        except Exception as error:  # the student is written: nothing here may fail its run
            reason = str(error) or type(error).__name__
            print(f"No quick verdict: {reason.splitlines()[0]}", file=sys.stderr)
        lengths, domain = self._length_flags(), self.domain
        for command in (
            domain.generate_command(str(folder), steps, lengths),
            compare_command(domain.program, self.settings.teacher, str(folder), steps, lengths),
        ):
            print(f"Next: {command}", file=sys.stderr)
        if seconds > LONG_COMPARISON:
            print(
                f"The comparison takes about {readable_time(seconds)} on this machine, mostly its "
                f"teacher's limit; --num 256 takes {256 / COMPARED:.0%} of that.",
                file=sys.stderr,
            )

    def _length_flags(self) -> str:
        """Return flags that ask `generate` for lengths as of the reference; may be empty."""
        settings = self.settings
        if settings.reference == "data" and settings.data:
            return self.domain.length_flags(shlex.quote(settings.data))
        asked = settings.pool_length
        return "" if asked is None else f" --length {shlex.quote(asked)}"

    def _say_small_batches(self, fewest_groups: int, fabric: Fabric) -> None:
        """Every process needs a group: with fewer a batch is larger than one process's."""
        if fabric.is_global_zero and fewest_groups < fabric.world_size > 1:
            print(
                f"tokens_per_batch={self.settings.tokens_per_batch} holds {fewest_groups} groups "
                f"of the longest sequences for {fabric.world_size} processes: such batches get a "
                "group for each. With a larger tokens_per_batch the run is that of one process.",
                file=sys.stderr,
            )

    def print_plan(self) -> Path:
        """Print the memory and time the run would take; only the teacher is allocated."""
        teacher = self.open_teacher(torch.device("cpu"))
        teacher.denoiser.to("meta")
        method = self.without_data(teacher)
        longest = self.longest(teacher)
        repeated = method.repeated if isinstance(method, DistilledStudent) else 0
        print_plan(method.networks(), method.graphs, self.settings, longest, repeated)
        return Path(self.settings.out)

    def without_data(self, teacher: LoadedModel) -> Distillation:
        """Build the method with nothing to train on: the corpus has no part in its size."""
        return self.build_method(teacher, Corpus.from_ids([[teacher.vocabulary.generable_ids[0]]]))

    def longest(self, teacher: LoadedModel) -> int:
        """Return the most tokens of a sequence, framing left out."""
        return min(self.settings.max_length, length_limit(teacher))

    def build_method(self, teacher: LoadedModel, corpus: Corpus) -> Distillation:
        """Build the method of that name, with its reference."""
        settings = self.settings
        reference = GroupedReference(
            corpus,
            teacher.vocabulary,
            self.shared.group_size,
            settings.tokens_per_batch,
            self.longest(teacher),
            settings.seed,
            passes_of(settings),
        )
        build = METHODS[self.name].build
        network, vocabulary = teacher.denoiser, teacher.vocabulary
        method = build(network, vocabulary, reference, self.chosen, settings.seed)
        if not settings.joint_head:
            return method
        return WithJointHead(method, vocabulary, JointHeadSettings(), settings.seed)

    def save(
        self,
        folder: Path,
        result: nn.Module,
        extras: Mapping[str, Callable[[Path], None]],
        teacher: LoadedModel,
        card: str,
        own: Mapping[str, Any],
        trained_on: TrainedOn | None = None,
    ) -> None:
        """Write student, noise input and other weights, where there are some; `config.json` last.

        An earlier one goes first, and so do weights that are not the student's own: a kill leaves
        no folder that could be opened with files of two students.

        Args:
            result: the student, under its noise input where it has one.
            extras: what writes the method's files of weights, by their stems.
            own: what `config.json` says of sampling in place of the settings.
            trained_on: what the student learnt from; nothing is kept of it when None.
        """
        (folder / "config.json").unlink(missing_ok=True)
        for name in (*EXTRA_FILES, TRAINING_SKETCH, HEADROOM):
            (folder / name).unlink(missing_ok=True)
        for name, write in extras.items():
            write(folder / f"{name}.safetensors")
        student, noise = without_noise(result)
        save_noise(noise, folder)
        data = self.domain.config_of_data(folder, trained_on) if trained_on else {}
        writer = self.domain.tokenizer_writer
        save_model_folder(
            folder,
            student,
            teacher.vocabulary,
            card=card,
            extra_config={
                "didi": {**self._config(teacher, noise, JOINT_HEAD in extras), **own, **data}
            },
            write_tokenizer=writer and writer(self.settings, teacher),
        )

    def _config(
        self, teacher: LoadedModel, noise: MaskNoise | None, joint_head: bool
    ) -> dict[str, Any]:
        """Return what `config.json` says of the student beside its shape."""
        own = {
            "teacher": teacher.name,
            "method": self.name,
            "sampler": self.sampler,
            "reveal_exponent": self.shared.reveal_exponent,
            "process": None if teacher.process == DEFAULT_PROCESS else teacher.process,
            "noise": None if noise is None else noise.kind,
            "joint_head": joint_head,
            TRAINED_LENGTHS: teacher.trained_lengths and teacher.trained_lengths.as_json(),
        }
        return {key: value for key, value in own.items() if value}

    def _added_section(self, method: Distillation, teacher: LoadedModel, corpus: Corpus) -> str:
        """Return quality with and without noise input and joint head, where there is one."""
        sampling = SampleSettings(
            steps=self.shared.student_steps,
            seed=self.settings.seed,
            reveal_exponent=self.shared.reveal_exponent or 1.0,
        )
        lengths = corpus.lengths.clip(max=self.longest(teacher)).tolist()
        head = method.head() if isinstance(method, WithJointHead) else None
        return added_section(method.sampled(), head, teacher, lengths, sampling)

    def _print_headroom(self, teacher: LoadedModel, corpus: Corpus) -> None:
        """Say what few calls of the teacher lose: what could be won with its conditionals."""
        settings = self.settings
        source = settings.data if settings.reference == "data" else "the pool"
        line = teacher_line(teacher, lambda: corpus, str(source), self.domain.unit)
        if line is not None:
            print(line, file=sys.stderr)

    def card(
        self,
        steps: int,
        num_reference: int,
        lengths: LengthRanges | None = None,
        own: Mapping[str, Any] | None = None,
    ) -> str:
        """Return the card of a distilled student; arguments as of `save`."""
        settings, domain, process = self.settings, self.domain, METHODS[self.name].process
        source = {
            "data": f"{num_reference:,} {domain.rows} of `{settings.data}`",
            "pool": f"{num_reference:,} samples of the teacher (no data set)",
        }[settings.reference]
        groups = {"method": [self.name], "preset": [settings.preset]}
        command = command_line(domain.program, "distill", settings, domain.distill_config, groups)
        facts = {
            "Teacher": f"`{settings.teacher}`",
            "Method": f"{self.name}, preset {settings.preset}; {steps:,} updates; "
            f"seed {settings.seed}",
            "Reference": source,
            **({"Sampled by": ", ".join(f"{k} {v}" for k, v in own.items())} if own else {}),
            **lengths_fact(lengths, domain.unit),
            "Command": f"`{command}`",
        }
        plain = (
            f"A few-step student of {article_of(process)} model. Sample it with "
            f"`{domain.program} generate --model FOLDER --steps 8`."
        )
        description = domain.students.get(kind := kind_of(process), plain)
        title = f"Student of {settings.teacher}"
        return card(domain.program, domain.tags, kind, title, description, facts)


def without_data(
    settings: D, domain: TrainingDomain[P, D]
) -> tuple[Method, Callable[[Path, int], None]]:
    """Build what trains, with nothing to train on: to hold what a checkpoint has.

    Returns:
        The method, and what writes its model folder as it is after a number of updates.
    """
    run = DistillRun(settings, domain)
    teacher = run.open_teacher(torch.device("cpu"))
    method = run.without_data(teacher)

    def save(folder: Path, steps: int) -> None:
        extras = method.extra_weights()
        own = method.folder_defaults()
        text = run.card(steps, 0, teacher.trained_lengths, own)
        run.save(folder, method.result(), extras, teacher, text, own)

    return method, save
