"""What `headroom` does in both programs: measure a model's curve, say what it means, keep it.

The curve is kept as `headroom.json` in the model's folder, where `generate --grid best` finds it.
"""

import json
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from rich.box import SIMPLE_HEAD
from rich.table import Table

from didi_core.cli.run import check_output, print_table
from didi_core.commands.generating.domain import length_limit
from didi_core.commands.headroom.options import HeadroomOptions, HeadroomResult
from didi_core.commands.training.domain import TrainingDomain
from didi_core.data.corpus import Corpus
from didi_core.diffusion.draws import Stream, keyed_uniform
from didi_core.diffusion.process import DEFAULT_PROCESS, article_of
from didi_core.errors import UserError, as_written
from didi_core.evaluation.bootstrap import Interval, warnings_of_few
from didi_core.evaluation.headroom import (
    MASKED_SHARES,
    CallsLoss,
    MaskedSums,
    masked_sums,
)
from didi_core.evaluation.headroom_plot import plot_headroom, require_matplotlib
from didi_core.evaluation.headroom_record import Measured, headroom_record, read_curve
from didi_core.io.files import Unwritable, write_json
from didi_core.models.bundled import BundledModels
from didi_core.models.fingerprint import weights_digest
from didi_core.models.folder import LoadedModel
from didi_core.models.hub import HEADROOM
from didi_core.models.hub_names import last_name
from didi_core.number_checks import minimum_errors, seed_errors
from didi_core.progress import counted, progress_bar
from didi_core.training.devices import TORCH_TYPES, resolve_device, settle_precision
from didi_core.training.run_folder import package_versions

BEARABLE = 0.05
"""Nats a token that calls may lose to be called bearable: a convention, and so it is printed."""
LEAST_TOKENS = 200
"""Below these a curve is noise, and is neither read out nor kept."""
MOST_RECORDS = 1_000_000
"""Sequences that a choice is made among."""
PLOTS = (".png", ".svg", ".pdf")


def run_headroom(options: HeadroomOptions, domain: TrainingDomain[Any, Any]) -> HeadroomResult:
    """Measure, write what was asked for, and keep the curve in the model's folder.

    Raises:
        UserError: options without sense, an output that exists, a model of another kind or data
            that cannot be read.
    """
    _check(options)
    options = settle_precision(options)
    model = _open(options, domain)
    longest = length_limit(model)
    corpus = domain.read_sequences(options.data, model, longest, options.offline)
    sequences = choose_sequences(corpus, options.num, longest, options.seed)
    sums = _measure(options, model, sequences)
    losses = sums.losses(seed=options.seed)
    tokens = sum(map(len, sequences))
    measured = Measured(options.data, len(sequences), tokens, options.seed, options.precision)
    weights = weights_digest(model.denoiser)
    name = last_name(options.model)  # the folder may be moved
    record = headroom_record(name, weights, measured, sums, losses, package_versions())
    if options.out is not None:
        write_json(options.out, record)
    if options.plot is not None:
        plot_headroom(sums.curve, record["standard_error"], losses, options.plot, domain.unit)
    if tokens < LEAST_TOKENS:
        kept, sentences = (
            None,
            [
                f"{options.data} gives {counted(tokens, domain.unit)} in "
                f"{counted(len(sequences), 'sequence')}: too few to say how few calls {name} can "
                f"bear ({LEAST_TOKENS:,} are needed), and the curve is not kept for --grid best."
            ],
        )
    else:
        kept, note = _keep(record, model, options, domain.program)
        few = warnings_of_few(len(sequences), "sequences")
        sentences = [*meaning_of(losses, name, domain.unit), *few, note]
    return HeadroomResult(
        losses=tuple(losses),
        kept=kept,
        sentences=tuple(sentences),
        out=options.out,
        plot=options.plot,
        record=record,
    )


def _check(options: HeadroomOptions) -> None:
    """Raise UserError for every flag that makes no sense, all at once."""
    wrong = minimum_errors(options, num=1, batch_tokens=1) + seed_errors(options.seed)
    if options.out is not None and options.out.suffix != ".json":
        wrong.append(f"--out {options.out} must end in .json")
    if options.plot is not None and options.plot.suffix not in PLOTS:
        wrong.append(f"--plot {options.plot} must end in {', '.join(PLOTS)}")
    if wrong:
        raise UserError("; ".join(wrong) + ".")
    for flag, path in (("--out", options.out), ("--plot", options.plot)):
        if path is not None:
            check_output(path, overwrite=options.overwrite, flag=flag)
    if options.plot is not None:
        require_matplotlib()


def _open(options: HeadroomOptions, domain: TrainingDomain[Any, Any]) -> LoadedModel:
    """Open the model.

    Raises:
        UserError: there is none, or it is not a masked one.
    """
    model = domain.open_model(
        options.model,
        device=resolve_device(options.device),
        offline=options.offline,
        dtype=TORCH_TYPES[options.precision],
        flag="MODEL",
    )
    if model.process != DEFAULT_PROCESS:
        raise UserError(
            f"{as_written('MODEL', options.model)} is {article_of(model.process)} model, and the "
            "curve is of masked ones, which reveal each token once: give a masked-diffusion model."
        )
    return model


def choose_sequences(corpus: Corpus, num: int, longest: int, seed: int) -> list[list[int]]:
    """Choose at most `num` sequences of a corpus by the seed, each cropped to `longest` ids.

    Of more than a million, every n-th is thought of, so that as many are.
    """
    records = torch.arange(0, len(corpus), -(-len(corpus) // MOST_RECORDS))
    order = keyed_uniform(seed, Stream.DATA, records).argsort()
    return [corpus.ids(record, longest) for record in sorted(records[order[:num]].tolist())]


def _measure(
    options: HeadroomOptions, model: LoadedModel, sequences: Sequence[Sequence[int]]
) -> MaskedSums:
    total = len(sequences) * len(MASKED_SHARES)
    bar = nullcontext(float) if options.quiet else progress_bar("Measuring", total)
    try:
        with bar as show:
            return masked_sums(
                model.denoiser,
                model.vocabulary,
                sequences,
                seed=options.seed,
                tokens_per_batch=options.batch_tokens,
                show=show,
            )
    except ValueError as error:
        raise UserError(f"--data {options.data}: {error}; give more sequences.") from error


def _keep(
    record: dict[str, Any], model: LoadedModel, options: HeadroomOptions, program: str
) -> tuple[Path | None, str]:
    """Write the curve into the model's folder, unless one of the same weights is there.

    Returns:
        The curve that `--grid best` finds there, and a sentence that says what was done.
    """
    path = model.folder / HEADROOM
    if options.model in BundledModels(program.replace("-", "_")).names:
        there = path if path.is_file() else None
        return there, (
            f"{options.model} is bundled and never written to: --out keeps this curve, and a copy "
            f"of its folder ({model.folder}) takes it for --grid best."
        )
    stored = None if options.overwrite else read_curve(model.folder)
    if stored is not None and stored.is_of(model.denoiser):
        known = f"{counted(stored.measured.num_sequences, 'sequence')} of {stored.measured.data}"
        return path, f"{path} is kept: {known}, the same weights (--overwrite replaces it)."
    try:
        write_json(path, record)
    except Unwritable as error:
        return None, f"The curve is not kept for --grid best: {error}"
    return path, f"The curve is in {path}, for --grid best."


# What it means, in words and as a table.


def meaning_of(losses: Sequence[CallsLoss], model: str, unit: str) -> list[str]:
    """Say how few calls a model bears, and what is to be won at the fewest that are usual."""
    borne = next((each for each in losses if each.best.mean < BEARABLE), None)
    shown = borne or losses[-1]
    verb = "can bear" if borne else "cannot bear"
    lost = (
        f"{model} {verb} {counted(shown.calls, 'call')}: on the best grid they lose "
        f"{_nats(shown.best)} nats a {unit} by drawing tokens together"
    )
    limit = f"less than {BEARABLE:g}" if borne else f"{BEARABLE:g} or more"
    few = [each for each in losses if each.calls in (4, 8)]
    won = ", ".join(f"{each.best.mean:.3f} at {each.calls} calls" for each in few)
    return [
        f"{lost}, which is {limit}.",
        f"With this teacher's conditionals, distillation or a joint draw can win at most about "
        f"{won} (nats a {unit}, in likelihood, best grid). Samples lose more, because what was "
        "drawn wrongly is built upon; better conditionals have no such bound.",
    ]


def show_headroom(result: HeadroomResult, *, as_json: bool) -> None:
    """Print the table and what it means; or the record as JSON."""
    if as_json:
        print(json.dumps(result.record, indent=2))
        return
    table = Table(box=SIMPLE_HEAD, collapse_padding=True)
    for heading in ("Calls", "Even grid", "Late grid", "Best grid"):
        table.add_column(heading, justify="right")
    for each in result.losses:
        figures = [_nats(interval) for interval in (each.even, each.late, each.best)]
        table.add_row(str(each.calls), *figures)
    print_table(table)
    print("\n".join(result.sentences))
    for name, path in (("Curve and grids", result.out), ("Figure", result.plot)):
        if path is not None:
            print(f"{name} in {path}")


def _nats(interval: Interval) -> str:
    return f"{interval.mean:.3f} ({interval.low:.3f} to {interval.high:.3f})"
