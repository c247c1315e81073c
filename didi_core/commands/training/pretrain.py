"""What `pretrain` does in both programs: from a corpus to a model folder.

A program's subclass of `PretrainRun` says what the tokens are and which network is built.
"""

import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import torch
from torch import nn

from didi_core.cli.hydra_app import choices_of
from didi_core.commands.training.memory import print_memory_plan, say_memory
from didi_core.commands.training.model_card import (
    STANDARD_ERROR,
    card,
    command_line,
    scores_table,
    told_nats,
)
from didi_core.commands.training.run_folder import (
    check_run_folder,
    loop_settings,
    prepared_run,
    sharing_problems,
    training_fabric,
)
from didi_core.commands.training.settings import PretrainSettings
from didi_core.data.corpus import Corpus, CorpusBatches
from didi_core.data.vocabulary import Vocabulary
from didi_core.diffusion.draws import Stream, keyed_generator
from didi_core.diffusion.process import (
    DEFAULT_PROCESS,
    IN_WORDS,
    PROCESSES,
    article_of,
    build_process,
    kind_of,
)
from didi_core.diffusion.schedules import LogLinearSchedule
from didi_core.distill.method import Method, Network
from didi_core.errors import UserError
from didi_core.evaluation.bounds import bound_samples
from didi_core.evaluation.ngrams import ngram_baselines
from didi_core.models.denoiser import Denoiser
from didi_core.models.recompute import checkpoint_activations
from didi_core.number_checks import (
    decay_errors,
    negative_errors,
    positive_int_errors,
    seed_errors,
)
from didi_core.training.autoregressive_pretraining import AutoregressivePretraining
from didi_core.training.devices import resolve_device, settle_precision
from didi_core.training.diffusion_pretraining import DiffusionPretraining
from didi_core.training.loop import Validate, train

Settings = TypeVar("Settings", bound=PretrainSettings)


class PretrainRun(ABC, Generic[Settings]):
    """One run of one program.

    Raises:
        UserError: settings without sense, all at once.
    """

    program: ClassVar[str]
    unit: ClassVar[str]
    """What one token is called."""
    rows: ClassVar[str]
    """What the sequences of the corpus are called, in the plural."""
    tags: ClassVar[tuple[str, ...]]
    descriptions: ClassVar[dict[str, str]]
    """First sentence of the model card, by `kind`; of others it says little."""
    title: ClassVar[str]
    config_name: ClassVar[str] = "pretrain"
    """Of the verb's configuration, as in configs/."""
    model_group: ClassVar[str] = "model"
    """Its group of network shapes, as Hydra calls it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settle_precision(settings, "")
        if wrong := self.problems():
            raise UserError("; ".join(wrong) + ".")

    def problems(self) -> list[str]:
        """What is wrong with the settings; a program adds its own."""
        return pretrain_problems(self.settings)

    @property
    def process(self) -> str:
        """Of the diffusion model that is trained; `autoregressive` where it is none."""
        kind = self.settings.model.kind
        return self.settings.process if kind == "masked" else kind

    @property
    def kind(self) -> str:
        """What is trained, as cards call it."""
        return kind_of(self.process)

    @property
    def time_conditioned(self) -> bool:
        """Whether the denoiser is told the time: a masked state tells it by its masks."""
        return self.settings.process != DEFAULT_PROCESS

    @property
    def extra_config(self) -> dict[str, Any]:
        """What `config.json` of a diffusion model says beside its shape."""
        process = self.settings.process
        return {} if process == DEFAULT_PROCESS else {"didi": {"process": process}}

    @property
    @abstractmethod
    def vocabulary(self) -> Vocabulary: ...

    @property
    @abstractmethod
    def max_length(self) -> int:
        """Longer sequences are cropped to this many tokens."""

    @abstractmethod
    def load_corpora(self) -> tuple[Corpus, Corpus | None]:
        """What to train on, and the held-out corpus where there is one."""

    @abstractmethod
    def build_denoiser(self) -> Denoiser:
        """A network that denoises, not yet initialised; `time_conditioned` is followed."""

    @abstractmethod
    def build_causal(self) -> Any:
        """A Hugging Face causal LM, initialised from torch's global state."""

    @abstractmethod
    def save(self, folder: Path, model: nn.Module, card: str) -> None:
        """Write the model folder."""

    def run(self) -> Path:
        """Train the model and save it as a model folder in `settings.out`.

        Returns:
            The folder.

        Raises:
            UserError: an output that exists, or unreadable data.
        """
        settings = self.settings
        folder = Path(settings.out)
        if settings.plan:
            self.plan()
            return folder
        check_run_folder(folder, "pretrain", settings)
        corpus, held_out = self.load_corpora()
        fabric = training_fabric(settings)
        with prepared_run(folder, "pretrain", settings, fabric):
            method, validate = self.build_method(corpus, held_out)
            say_memory(method, settings, fabric)
        loop = loop_settings(settings, settings.validate_every if held_out else 0)
        done = train(method, loop, folder, fabric, validate)
        # Of networks in shards every process has to ask for the whole.
        scores, model = validate() if validate else {}, method.result()
        if fabric.is_global_zero:
            if held_out is not None:
                scores |= self.baselines(corpus, held_out)
            self._print(scores)
            self.save(folder, model, self.card(done, len(corpus), scores))
            print(f"The model is in {folder}.", file=sys.stderr)
        return folder

    def method_without_data(self) -> Method:
        """Build what trains, with nothing to train on: to hold what a checkpoint has."""
        nothing = Corpus.from_ids([[self.vocabulary.generable_ids[0]]])
        return self.build_method(nothing, None)[0]

    def save_method(self, folder: Path, method: Method, steps: int) -> None:
        """Write the model folder of a method as it is after `steps` updates."""
        self.save(folder, method.result(), self.card(steps, 0, {}))

    def plan(self) -> None:
        """Print how much memory the run would take; nothing is read or allocated."""
        autoregressive = self.settings.model.kind == "autoregressive"
        with torch.device("meta"):
            network = self.build_causal() if autoregressive else self.build_denoiser()
        trained = Network("network", network, self.settings.optimizer)
        print_memory_plan([trained, Network("average", network)], 1, self.settings)

    def build_method(
        self, corpus: Corpus, held_out: Corpus | None
    ) -> tuple[Method, Validate | None]:
        """The training method for `model.kind`, and its validation."""
        settings = self.settings
        data = CorpusBatches(
            corpus, self.vocabulary, settings.tokens_per_batch, self.max_length, settings.seed
        )
        if settings.model.kind == "autoregressive":
            return autoregressive_method(settings, self.build_causal, data, held_out)
        return diffusion_method(settings, self.build_denoiser, data, held_out)

    def baselines(self, corpus: Corpus, held_out: Corpus) -> dict[str, float]:
        """Nats a token of n-gram models on the held-out corpus."""
        ranks = self.vocabulary.rank_of_id.numpy()
        train, test = (
            np.split(ranks[np.asarray(part.flat)], np.asarray(part.starts)[1:-1])
            for part in (corpus, held_out)
        )
        return ngram_baselines(train, test, self.vocabulary.num_generable)

    def _print(self, scores: dict[str, float]) -> None:
        for name, told in told_nats(scores):
            perplexity = f"perplexity {math.exp(scores[name]):.2f}"
            print(f"{name:18s} {told} nats a {self.unit}, {perplexity}", file=sys.stderr)

    def command_groups(self) -> dict[str, list[str]]:
        """Configuration groups, as Hydra calls them, with what may have been chosen of them."""
        return {self.model_group: choices_of(self.model_group.partition("@")[0])}

    def card(self, steps: int, num_sequences: int, scores: dict[str, float]) -> str:
        """The card of a pre-trained teacher or judge."""
        settings = self.settings
        groups = self.command_groups()
        command = command_line(self.program, "pretrain", settings, self.config_name, groups)
        facts = {
            "Trained on": f"{num_sequences:,} {self.rows}; {steps:,} updates; seed {settings.seed}",
            "Command": f"`{command}`",
        }
        title = f"{self.kind} {self.title}"
        plain = f"{article_of(self.process).capitalize()} {self.title}."
        description = self.descriptions.get(self.kind, plain)
        text = card(self.program, self.tags, self.kind, title, description, facts)
        held_out = scores_table(scores, self.unit) if scores else "No held-out file was given."
        return f"{text}\n{held_out}\n"


# What can be wrong with the settings of `pretrain`, found before anything is loaded.


def pretrain_problems(settings: PretrainSettings) -> list[str]:
    """Every complaint, each with the setting's name; a program adds its own."""
    wrong = positive_int_errors(settings, "steps", "tokens_per_batch", "devices", "log_every")
    wrong += positive_int_errors(settings, "checkpoints_kept")
    wrong += negative_errors(settings, "max_seconds") + seed_errors(settings.seed, "seed=")
    wrong += _kind_problems(settings) + _curriculum_problems(settings)
    wrong += decay_errors(settings, "ema", "input_noise")
    if settings.input_noise and settings.model.kind == "masked":
        wrong.append(f"input_noise={settings.input_noise} is for model.kind=autoregressive")
    for group in ("model", "curriculum", "gaussian", "optimizer"):
        wrong += [f"{group}.{each}" for each in getattr(settings, group).problems()]
    return wrong + sharing_problems(settings)


def _kind_problems(settings: PretrainSettings) -> list[str]:
    kind, process = settings.model.kind, settings.process
    wrong = []
    if kind not in ("masked", "autoregressive"):
        wrong.append(f"model.kind={kind} must be masked or autoregressive")
    if process not in PROCESSES:
        known = ", ".join(f"{name} ({IN_WORDS[name]})" for name in PROCESSES)
        wrong.append(f"process={process} must be one of {known}")
    elif process != DEFAULT_PROCESS and kind != "masked":
        wrong.append(
            f"process={process} is for diffusion models, and model.kind is {kind}, as of "
            "model=judge: take another model=, or leave process= out"
        )
    return wrong


def _curriculum_problems(settings: PretrainSettings) -> list[str]:
    wrong = []
    if settings.gaussian.steps > 0 and settings.process != "uniform":
        wrong.append(f"gaussian.steps={settings.gaussian.steps} is for process=uniform")
    if settings.gaussian.steps > 0 and settings.curriculum.steps > 0:
        wrong.append("gaussian.steps and curriculum.steps exclude each other")
    for name in ("curriculum", "gaussian"):
        if (first := getattr(settings, name).steps) >= settings.steps > 0:
            wrong.append(
                f"{name}.steps={first} leaves none of steps={settings.steps} for the bound itself"
            )
    if settings.curriculum.steps > 0 and settings.model.kind == "autoregressive":
        wrong.append(f"curriculum.steps={settings.curriculum.steps} is for model.kind=masked")
    return wrong


# The training method that `pretrain` asks for, and how it is validated on held-out data.

TRAINING_EPS = 1e-3
"""Least share of tokens kept in training, as published; likelihood and sampling use 0."""


VALIDATION_TOKENS = 16_384
"""Most tokens of a validation batch."""


VALIDATION_ITEMS = 512
"""Fewest sequences, each with a time and a noise of its own, that a bound is the mean of: a small
held-out set is gone through several times."""


LOGITS_AT_ONCE = 1 << 26
"""Most logits of a validation batch: with a large vocabulary its batches are smaller."""


def autoregressive_method(
    settings: PretrainSettings,
    build: Callable[[], Any],
    data: CorpusBatches,
    held_out: Corpus | None,
) -> tuple[Method, Validate | None]:
    """Next-token training of the causal network that `build` makes, and its held-out NLL."""
    torch.manual_seed(settings.seed)  # transformers draws its weights from the global state
    causal = build()
    if settings.checkpoint_activations:
        checkpoint_activations(causal)
    if resolve_device(settings.device).type == "cpu":
        # Written-out attention: the fused kernel is slow on a CPU in half precision.
        causal.set_attn_implementation("eager")
    method = AutoregressivePretraining(
        causal, data, settings.optimizer, settings.ema, settings.input_noise, settings.seed
    )
    if held_out is None:
        return method, None
    tokens = _validation_tokens(data.vocabulary)
    valid = CorpusBatches(held_out, data.vocabulary, tokens, data.max_length, seed=0)
    return method, lambda: {"validation_nll": method.validation_loss(valid)}


def diffusion_method(
    settings: PretrainSettings,
    build: Callable[[], Denoiser],
    data: CorpusBatches,
    held_out: Corpus | None,
) -> tuple[Method, Validate | None]:
    """Training of the denoiser that `build` makes on its bound, and the bound held out."""
    denoiser = build()
    if settings.checkpoint_activations:
        checkpoint_activations(denoiser)
    denoiser.initialise(keyed_generator(settings.seed, Stream.DATA, -1))
    schedule = LogLinearSchedule(eps=TRAINING_EPS)
    method = DiffusionPretraining(
        denoiser,
        data,
        build_process(settings.process, data.vocabulary, schedule),
        settings.optimizer,
        settings.ema,
        settings.seed,
        settings.curriculum,
        settings.gaussian,
    )
    if held_out is None:
        return method, None
    return method, _bound_of(method, settings.process, data, held_out)


def _bound_of(
    method: DiffusionPretraining, process: str, data: CorpusBatches, held_out: Corpus
) -> Validate:
    sequences = [held_out.ids(i, data.max_length) for i in range(len(held_out))]
    tokens = _validation_tokens(data.vocabulary)

    def validate() -> dict[str, float]:
        network = method.sampled()
        device = next(network.parameters()).device
        found = bound_samples(
            network,
            data.vocabulary,
            sequences,
            process=process,
            draws=-(-VALIDATION_ITEMS // len(sequences)),
            tokens_per_batch=tokens,
            device=device,
        ).estimate()
        return {
            "validation_bound": found.nats_per_token,
            f"validation_bound{STANDARD_ERROR}": found.standard_error,
        }

    return validate


def _validation_tokens(vocabulary: Vocabulary) -> int:
    return max(1, min(VALIDATION_TOKENS, LOGITS_AT_ONCE // vocabulary.size))
