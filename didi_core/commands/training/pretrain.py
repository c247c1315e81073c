"""What `pretrain` does in both programs: from a corpus to a model folder.

A program's `TrainingDomain` says what the tokens are and which network is built.
"""

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from lightning.fabric import Fabric
from torch import nn

from didi_core.commands.headroom.estimate import estimated_line
from didi_core.commands.training.domain import (
    Corpora,
    D,
    Once,
    P,
    PretrainTask,
    T,
    TrainedOn,
    TrainingDomain,
)
from didi_core.commands.training.held_out import (
    HeldOut,
    HeldOutNats,
    autoregressive_method,
    diffusion_method,
)
from didi_core.commands.training.memory import print_plan, say_memory, settled
from didi_core.commands.training.model_card import (
    card,
    command_line,
    lengths_fact,
    scores_table,
    told_nats,
)
from didi_core.commands.training.outcome import Begun, Outcome
from didi_core.commands.training.pretrain_checks import pretrain_problems
from didi_core.commands.training.run_folder import (
    check_run_folder,
    loop_settings,
    prepared_run,
    training_fabric,
)
from didi_core.commands.training.settings import PretrainSettings
from didi_core.data.corpus import Corpus, CorpusBatches
from didi_core.data.length_ranges import TRAINED_LENGTHS, LengthRanges
from didi_core.diffusion.draws import Stream, keyed_generator
from didi_core.diffusion.process import (
    DEFAULT_PROCESS,
    article_of,
    kind_of,
)
from didi_core.distill.method import Method, Network
from didi_core.distill.updates import mesh_of
from didi_core.errors import UserError
from didi_core.models.denoiser import Denoiser
from didi_core.models.fingerprint import weights_digest
from didi_core.models.folder import LoadedModel
from didi_core.models.without_weights import without_weights
from didi_core.number_checks import (
    percentage,
)
from didi_core.training.loop import train
from didi_core.training.patience import Patience
from didi_core.training.pretraining import Pretraining
from didi_core.training.run_folder import read_run_entry

INIT = "init"
"""Key of the model that training started from, in `run.json` and, under "didi", `config.json`."""


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
    start = _start(task, folder, settings)
    fabric = training_fabric(settings)
    corpora = task.load_corpora(folder, once_on(fabric))
    with prepared_run(folder, "pretrain", settings, fabric, _record_of(start)):
        method, held_out = _build_method(settings, task, start, corpora)
        say_memory(method, settings, fabric)
    if corpora.save is not None and fabric.is_global_zero:
        corpora.save(folder)
    loop = loop_settings(settings, settings.validate_every if held_out else 0)
    before = None
    if start is not None and held_out is not None:
        before = _measured_before(method, held_out, fabric)
        loop = replace(loop, first_look=held_out if before is None else lambda: before.figures)
    patience = Patience(settings.patience, method.ema) if settings.patience else None
    done = train(method, loop, folder, fabric, held_out, patience)
    # Of networks in shards every process has to ask for the whole.
    measured, model = held_out.measure() if held_out else None, method.result()
    if fabric.is_global_zero:
        begun = None if start is None else Begun(start.model, before)
        outcome = Outcome.of(settings, domain, task, corpora, measured, begun)
        _print_scores(outcome.scores, domain.unit)
        updates = f"{done:,} updates{_kept_weights(patience, done)}"
        _save(settings, domain, task, start, corpora, model, updates, outcome)
        if fabric.world_size == 1:
            corpus = corpora.held_out or corpora.training
            _print_headroom(settings, task, model, corpus, domain.unit)
        print(f"The model is in {folder}: {updates}.", file=sys.stderr)
        for line in outcome.lines:
            print(line, file=sys.stderr)
    return folder


def _measured_before(method: Pretraining, held_out: HeldOut, fabric: Fabric) -> HeldOutNats | None:
    """Score held-out sequences with the weights that training starts from.

    Returns:
        None where processes share the network, which is whole on none of their devices.
    """
    mesh = mesh_of(fabric)
    if mesh is not None:
        return None
    method.ema.place(fabric.device, mesh)
    return held_out.measure()


def _save(
    settings: P,
    domain: TrainingDomain[P, D],
    task: PretrainTask,
    start: "Start | None",
    corpora: Corpora,
    model: nn.Module,
    updates: str,
    outcome: Outcome,
) -> None:
    """Write the model folder, with what is kept of the training data."""
    folder = Path(settings.out)
    lengths = _trained_lengths(domain, task, corpora.training)
    text = _card(settings, domain, updates, len(corpora.training), start, outcome, lengths)
    data, _ = corpora.names(settings)
    trained_on = TrainedOn(data, corpora.training, None if start is None else start.model)
    kept = domain.config_of_data(folder, trained_on)
    task.save(folder, model, text, _extra_config(settings, start, lengths, kept))


@dataclass(frozen=True)
class Start:
    """The model whose weights a training starts from."""

    model: LoadedModel
    """Its network is the one that is trained."""
    digest: str
    """Of its weights as they were."""


def _start(task: PretrainTask, folder: Path, settings: PretrainSettings) -> Start | None:
    """Open what training starts from; None for fresh weights.

    Raises:
        UserError: it cannot be opened, or a resumed run began with other weights of that name.
    """
    model = task.initial()
    if model is None:
        return None
    start = Start(model, weights_digest(model.denoiser))
    begun = read_run_entry(folder, INIT) if settings.resume else None
    if begun is not None and begun.get("digest") != start.digest:
        raise UserError(
            f"resume=true: init={model.name} holds other weights than when the run in {folder} "
            "began: give that model again, or start again with overwrite=true."
        )
    return start


def _record_of(start: Start | None) -> dict[str, Any]:
    """Return what `run.json` says of the model that training starts from."""
    return {} if start is None else {INIT: {"name": start.model.name, "digest": start.digest}}


def once_on(fabric: Fabric) -> Once:
    """Return what calls a function in the first process and gives all what it returned."""

    def once(function: Callable[[], T], /) -> T:
        result = function() if fabric.is_global_zero else None
        return cast(T, fabric.broadcast(result) if fabric.world_size > 1 else result)

    return once


def without_data(
    settings: P, domain: TrainingDomain[P, D]
) -> tuple[Method, Callable[[Path, int], None]]:
    """Build what trains, with nothing to train on: to hold what a checkpoint has.

    Returns:
        The method, and what writes its model folder as it is after a number of updates.
    """
    settings = _checked(settings, domain)
    task = domain.pretraining(settings)
    start = _start(task, Path(settings.out), settings)
    nothing = Corpus.from_ids([[task.vocabulary.generable_ids[0]]])
    method, _ = _build_method(settings, task, start, Corpora(nothing, None))

    def save(folder: Path, steps: int) -> None:
        text = _card(settings, domain, f"{steps:,} updates", 0, start)
        task.save(folder, method.result(), text, _extra_config(settings, start, None))

    return method, save


def _checked(settings: P, domain: TrainingDomain[P, D]) -> P:
    settings = domain.settle_pretrain(settled(settings))
    if wrong := [*pretrain_problems(settings), *domain.pretrain_problems(settings)]:
        raise UserError("; ".join(wrong) + ".")
    return settings


def _print_plan(settings: PretrainSettings, task: PretrainTask) -> None:
    """Print the memory and time the run would take; nothing is read or allocated."""
    autoregressive = settings.model.kind == "autoregressive"
    with without_weights():
        network = task.build_causal() if autoregressive else _build_denoiser(settings, task)
    trained = Network("network", network, settings.optimizer)
    print_plan([trained, Network("average", network)], 1, settings, task.max_length)


def _build_method(
    settings: PretrainSettings, task: PretrainTask, start: Start | None, corpora: Corpora
) -> tuple[Pretraining, HeldOut | None]:
    """Build the training method for `model.kind`, and its validation."""
    data = CorpusBatches(
        corpora.training, task.vocabulary, settings.tokens_per_batch, task.max_length, settings.seed
    )
    network = None if start is None else start.model.denoiser
    if settings.model.kind == "autoregressive":
        build = task.build_causal if network is None else lambda: cast(Any, network).network
        return autoregressive_method(settings, build, data, corpora.held_out)

    def denoiser() -> Denoiser:
        if network is not None:
            return cast(Denoiser, network)
        fresh = _build_denoiser(settings, task)
        fresh.initialise(keyed_generator(settings.seed, Stream.DATA, -1))
        return fresh

    return diffusion_method(settings, denoiser, data, corpora.held_out)


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
    start: Start | None,
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
    if start is not None:
        own |= {INIT: start.model.name, "init_digest": start.digest}
    if lengths is not None:
        own[TRAINED_LENGTHS] = lengths.as_json()
    return {"didi": own} if own else {}


def _print_scores(scores: Mapping[str, float], unit: str) -> None:
    for name, told in told_nats(scores):
        perplexity = f"perplexity {math.exp(scores[name]):.2f}"
        print(f"{name:18s} {told} nats a {unit}, {perplexity}", file=sys.stderr)


def _source(settings: PretrainSettings) -> str:
    """Name the sequences that are held out, or else those trained on."""
    if percentage(settings.valid) is not None:
        return f"{settings.valid} of {settings.data}"
    return settings.valid or settings.data


def _print_headroom(
    settings: PretrainSettings, task: PretrainTask, model: Any, corpus: Corpus, unit: str
) -> None:
    """Say how few calls a masked model bears, by a short estimate, where that is quickly known."""
    if settings.model.kind != "masked" or settings.process != DEFAULT_PROCESS:
        return
    line = estimated_line(
        *(settings.out, model, task.vocabulary, corpus),
        longest=task.max_length,
        source=_source(settings),
        unit=unit,
    )
    if line is not None:
        print(line, file=sys.stderr)


def _card(
    settings: P,
    domain: TrainingDomain[P, D],
    updates: str,
    num_sequences: int,
    start: Start | None,
    outcome: Outcome | None = None,
    lengths: LengthRanges | None = None,
) -> str:
    """Return the card of a pre-trained teacher or judge."""
    trained = settings.model.kind
    process = settings.process if trained == "masked" else trained
    kind = kind_of(process)
    groups = domain.pretrain_groups(settings)
    command = command_line(domain.program, "pretrain", settings, domain.pretrain_config, groups)
    facts = {
        "Trained on": f"{num_sequences:,} {domain.rows}; {updates}; seed {settings.seed}",
        **_start_fact(start),
        **lengths_fact(lengths, domain.unit),
        "Command": f"`{command}`",
    }
    plain = f"{article_of(process).capitalize()} {domain.title}."
    description = domain.teachers.get(kind, plain)
    text = card(domain.program, domain.tags, kind, f"{kind} {domain.title}", description, facts)
    if outcome is None or not outcome.scores:
        return f"{text}\nNo held-out file was given.\n"
    return f"{text}\n{scores_table(outcome.scores, domain.unit)}\n\n{outcome.verdict}\n"


def _kept_weights(patience: Patience | None, done: int) -> str:
    """Say which weights are kept, where they are not the last ones."""
    if patience is None or patience.best_step == done:
        return ""
    return f" (kept are the averaged weights of update {patience.best_step:,}, the best held out)"


def _start_fact(start: Start | None) -> dict[str, str]:
    if start is None:
        return {}
    return {"Started from": f"`{start.model.name}` (weights {start.digest})"}
