"""What `pretrain` does in both programs: from a corpus to a model folder.

A program's `TrainingDomain` says what the tokens are and which network is built.
"""

import math
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from didi_core.commands.headroom.estimate import estimated_line
from didi_core.commands.training.domain import D, P, PretrainTask, TrainedOn, TrainingDomain
from didi_core.commands.training.memory import print_memory_plan, say_memory
from didi_core.commands.training.model_card import (
    STANDARD_ERROR,
    card,
    command_line,
    lengths_fact,
    scores_table,
    told_nats,
)
from didi_core.commands.training.run_folder import (
    check_run_folder,
    loop_settings,
    prepared_run,
    run_problems,
    training_fabric,
)
from didi_core.commands.training.settings import PretrainSettings
from didi_core.data.corpus import Corpus, CorpusBatches
from didi_core.data.length_ranges import TRAINED_LENGTHS, LengthRanges
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


def pretrain(settings: P, domain: TrainingDomain[P, D]) -> Path:
    """Train a model and save it as a model folder in `settings.out`.

    Returns:
        The folder.

    Raises:
        UserError: settings without sense, all at once; an output that exists, or unreadable data.
    """
    settings = _checked(settings, domain)
    folder = Path(settings.out)
    if settings.plan:
        _print_plan(settings, domain.pretraining(settings))
        return folder
    check_run_folder(folder, "pretrain", settings)
    task = domain.pretraining(settings)
    corpus, held_out = task.load_corpora()
    fabric = training_fabric(settings)
    with prepared_run(folder, "pretrain", settings, fabric):
        method, validate = _build_method(settings, task, corpus, held_out)
        say_memory(method, settings, fabric)
    loop = loop_settings(settings, settings.validate_every if held_out else 0)
    done = train(method, loop, folder, fabric, validate)
    # Of networks in shards every process has to ask for the whole.
    scores, model = validate() if validate else {}, method.result()
    if fabric.is_global_zero:
        if held_out is not None:
            scores |= task.baselines(corpus, held_out)
        _print_scores(scores, domain.unit)
        lengths = _trained_lengths(domain, task, corpus)
        text = _card(settings, domain, done, len(corpus), scores, lengths)
        data = domain.config_of_data(folder, TrainedOn(settings.data, corpus))
        task.save(folder, model, text, _extra_config(settings, lengths, data))
        if fabric.world_size == 1:
            _print_headroom(settings, task, model, held_out or corpus, domain.unit)
        print(f"The model is in {folder}.", file=sys.stderr)
    return folder


def without_data(
    settings: P, domain: TrainingDomain[P, D]
) -> tuple[Method, Callable[[Path, int], None]]:
    """Build what trains, with nothing to train on: to hold what a checkpoint has.

    Returns:
        The method, and what writes its model folder as it is after a number of updates.
    """
    task = domain.pretraining(_checked(settings, domain))
    nothing = Corpus.from_ids([[task.vocabulary.generable_ids[0]]])
    method, _ = _build_method(settings, task, nothing, None)

    def save(folder: Path, steps: int) -> None:
        text = _card(settings, domain, steps, 0, {})
        task.save(folder, method.result(), text, _extra_config(settings, None))

    return method, save


def _checked(settings: P, domain: TrainingDomain[P, D]) -> P:
    settings = settle_precision(settings, "")
    if wrong := [*pretrain_problems(settings), *domain.pretrain_problems(settings)]:
        raise UserError("; ".join(wrong) + ".")
    return settings


def _print_plan(settings: PretrainSettings, task: PretrainTask) -> None:
    """Print how much memory the run would take; nothing is read or allocated."""
    autoregressive = settings.model.kind == "autoregressive"
    with torch.device("meta"):
        network = task.build_causal() if autoregressive else _build_denoiser(settings, task)
    trained = Network("network", network, settings.optimizer)
    print_memory_plan([trained, Network("average", network)], 1, settings)


def _build_method(
    settings: PretrainSettings, task: PretrainTask, corpus: Corpus, held_out: Corpus | None
) -> tuple[Method, Validate | None]:
    """Build the training method for `model.kind`, and its validation."""
    data = CorpusBatches(
        corpus, task.vocabulary, settings.tokens_per_batch, task.max_length, settings.seed
    )
    if settings.model.kind == "autoregressive":
        return autoregressive_method(settings, task.build_causal, data, held_out)
    return diffusion_method(settings, partial(_build_denoiser, settings, task), data, held_out)


def _build_denoiser(settings: PretrainSettings, task: PretrainTask) -> Denoiser:
    # The absorbing process needs no time: a masked state tells it by its masks.
    return task.build_denoiser(time_conditioned=settings.process != DEFAULT_PROCESS)


def _trained_lengths(
    domain: TrainingDomain[P, D], task: PretrainTask, corpus: Corpus
) -> LengthRanges | None:
    """Return the lengths that were trained on; None where they say nothing of the sequences."""
    if not domain.lengths_vary:
        return None
    return LengthRanges.of(corpus.lengths.clip(max=task.max_length))


def _extra_config(
    settings: PretrainSettings,
    lengths: LengthRanges | None,
    data: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Any]:
    """Return what `config.json` says beside the network's shape.

    Args:
        data: what it says of the training data.
    """
    own = dict(data)
    if settings.process != DEFAULT_PROCESS:
        own["process"] = settings.process
    if lengths is not None:
        own[TRAINED_LENGTHS] = lengths.as_json()
    return {"didi": own} if own else {}


def _print_scores(scores: Mapping[str, float], unit: str) -> None:
    for name, told in told_nats(scores):
        perplexity = f"perplexity {math.exp(scores[name]):.2f}"
        print(f"{name:18s} {told} nats a {unit}, {perplexity}", file=sys.stderr)


def _print_headroom(
    settings: PretrainSettings, task: PretrainTask, model: Any, corpus: Corpus, unit: str
) -> None:
    """Say how few calls a masked model bears, by a short estimate, where that is quickly known."""
    if settings.model.kind != "masked" or settings.process != DEFAULT_PROCESS:
        return
    line = estimated_line(
        *(settings.out, model, task.vocabulary, corpus),
        longest=task.max_length,
        source=settings.valid or settings.data,
        unit=unit,
    )
    if line is not None:
        print(line, file=sys.stderr)


def _card(
    settings: P,
    domain: TrainingDomain[P, D],
    steps: int,
    num_sequences: int,
    scores: Mapping[str, float],
    lengths: LengthRanges | None = None,
) -> str:
    """Return the card of a pre-trained teacher or judge."""
    trained = settings.model.kind
    process = settings.process if trained == "masked" else trained
    kind = kind_of(process)
    groups = domain.pretrain_groups(settings)
    command = command_line(domain.program, "pretrain", settings, domain.pretrain_config, groups)
    facts = {
        "Trained on": f"{num_sequences:,} {domain.rows}; {steps:,} updates; seed {settings.seed}",
        **lengths_fact(lengths, domain.unit),
        "Command": f"`{command}`",
    }
    plain = f"{article_of(process).capitalize()} {domain.title}."
    description = domain.teachers.get(kind, plain)
    text = card(domain.program, domain.tags, kind, f"{kind} {domain.title}", description, facts)
    held_out = scores_table(scores, domain.unit) if scores else "No held-out file was given."
    return f"{text}\n{held_out}\n"


# What can be wrong with the settings of `pretrain`, found before anything is loaded.


def pretrain_problems(settings: PretrainSettings) -> list[str]:
    """Return every complaint, each with the setting's name; a program adds its own."""
    wrong = positive_int_errors(settings, "steps", "tokens_per_batch", "devices", "log_every")
    wrong += positive_int_errors(settings, "checkpoints_kept")
    wrong += negative_errors(settings, "max_seconds") + seed_errors(settings.seed, "seed=")
    wrong += _kind_problems(settings) + _curriculum_problems(settings)
    wrong += decay_errors(settings, "ema", "input_noise")
    if settings.input_noise and settings.model.kind == "masked":
        wrong.append(f"input_noise={settings.input_noise} is for model.kind=autoregressive")
    for group in ("model", "curriculum", "gaussian", "optimizer"):
        wrong += [f"{group}.{each}" for each in getattr(settings, group).problems()]
    return wrong + run_problems(settings)


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
