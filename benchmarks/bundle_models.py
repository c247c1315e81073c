r"""Turn training runs into the models that ship in the packages: 16-bit weights, with a card.

    python -m benchmarks.bundle_models protein --teacher runs/teacher --student runs/student \
        --judge runs/judge --held-out families-held-out --training families
    python -m benchmarks.bundle_models text --teacher runs/teacher --student runs/student \
        --judge runs/judge --held-out valid.jsonl.gz

Run it again after figures of the bundled models were measured, to put them into the cards: those
of `python -m benchmarks.families --out benchmarks/results/families.json`, and of text those of

    didi-text benchmark --models tiny,tiny-student --steps 8,16,limit --temperatures 0.8,0.9,1,1.1 \
        --out study
    cp study/benchmark.json benchmarks/results/text_benchmark.json
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from benchmarks.bundle_cards import PROTEIN_WORDS, TEXT_WORDS, Words, card
from didi_core.commands.headroom.options import HeadroomOptions
from didi_core.commands.headroom.run import run_headroom
from didi_core.commands.training.domain import TrainingDomain
from didi_core.data.length_ranges import TRAINED_LENGTHS, LengthRanges
from didi_core.io.files import write_json
from didi_core.models.bundled import BundledModels
from didi_core.models.causal_folder import REFERENCE_ROWS, write_causal_folder
from didi_core.models.folder import LoadedModel, save_model_folder
from didi_core.models.hub import HEADROOM

LARGEST_MB = 12
PATHS = ("data", "valid", "out", "teacher", "tokenizer")
"""Settings that name files of the machine."""


@dataclass(frozen=True)
class Domain:
    """How one program's models are opened and written."""

    bundled: BundledModels
    words: Words
    dtype: torch.dtype
    open_model: Callable[[Path], LoadedModel]
    tokenizer_of: Callable[[LoadedModel], Callable[[Path], None] | None]
    """What writes the tokenizer; None where the vocabulary is all there is."""
    write_judge: Callable[[Path, Path, str, torch.dtype, dict[str, Any]], None]
    """From a run folder into a folder, with this card, in this type, and with more of a config."""
    reference_rows: Callable[[Path, Path | None], dict[str, Any]]
    """Of the judge that was written, from held-out and training data."""
    training: TrainingDomain[Any, Any]
    """What `headroom` knows of the program."""
    lengths_of: Callable[[Path], LengthRanges | None] = lambda _: None
    """Lengths of training data, where sequences have lengths of their own."""


def protein() -> Domain:
    from didi_protein.domain import TRAINING
    from didi_protein.models.causal import save_causal_folder
    from didi_protein.models.judges import open_judge
    from didi_protein.models.load import BUNDLED_MODELS, open_model
    from didi_protein.scoring.set_measures import measure_reference_rows
    from didi_protein.sequences.alphabet import PROTEIN
    from didi_protein.sequences.training_data import read_training_sequences

    def write_judge(
        run: Path, folder: Path, text: str, dtype: torch.dtype, more: dict[str, Any]
    ) -> None:
        save_causal_folder(folder, open_judge(str(run)).model, PROTEIN, text, dtype, more)

    def rows(held_out: Path, training: Path | None) -> dict[str, Any]:
        sets = [
            [sequence for _, sequence in read_training_sequences(path)] if path else None
            for path in (held_out, training)
        ]
        return measure_reference_rows(open_judge("tiny-judge"), *sets, max_sequences=4_096)

    def lengths(training: Path) -> LengthRanges:
        return LengthRanges.of([len(each) for _, each in read_training_sequences(training)])

    return Domain(
        BUNDLED_MODELS,
        PROTEIN_WORDS,
        torch.float16,
        open_model,
        lambda _: None,
        write_judge,
        rows,
        TRAINING,
        lengths,
    )


def text() -> Domain:
    from didi_text.domain import TRAINING
    from didi_text.models.judges import open_judge
    from didi_text.models.load import BUNDLED_MODELS, open_model, tokenizer_of
    from didi_text.samples.reference import measure_reference_rows

    def write_judge(
        run: Path, folder: Path, text: str, dtype: torch.dtype, more: dict[str, Any]
    ) -> None:
        judge = open_judge(str(run))
        judge.tokenizer.save(folder)
        write_causal_folder(folder, judge.network, text, dtype, more)

    def rows(held_out: Path, training: Path | None) -> dict[str, Any]:
        del training  # a row of text that was trained on would say little
        return measure_reference_rows(open_judge("tiny-judge"), held_out)

    return Domain(
        BUNDLED_MODELS,
        TEXT_WORDS,
        torch.bfloat16,
        open_model,
        lambda model: tokenizer_of(model).save,
        write_judge,
        rows,
        TRAINING,
    )


DOMAINS = {"protein": protein, "text": text}


def main(
    domain: Annotated[str, typer.Argument(help="protein or text.")],
    teacher: Annotated[Path | None, typer.Option(help="Run folder of pretrain.")] = None,
    student: Annotated[Path | None, typer.Option(help="Run folder of distill.")] = None,
    judge: Annotated[Path | None, typer.Option(help="Run folder of pretrain model=judge.")] = None,
    held_out: Annotated[Path | None, typer.Option(help="For the judge's reference rows.")] = None,
    training: Annotated[
        Path | None, typer.Option(help="The same, and the lengths that were trained on; proteins.")
    ] = None,
) -> None:
    """Write those of `_models/{tiny,tiny-student,tiny-judge}` whose runs are given."""
    chosen = DOMAINS[domain]()
    for name, run in (("tiny", teacher), ("tiny-student", student)):
        if run is not None:
            bundle_denoiser(name, run, chosen, training, held_out)
    if judge is not None:
        if held_out is None:
            raise typer.BadParameter("--judge needs --held-out, for its reference rows")
        bundle_judge(judge, chosen, held_out, training)


def bundle_denoiser(
    name: str,
    run: Path,
    domain: Domain,
    training: Path | None = None,
    held_out: Path | None = None,
) -> None:
    loaded, folder = domain.open_model(run), domain.bundled.folder(name)
    record = run_record(run, training, held_out)
    own = {k: v for k, v in loaded.config.get("didi", {}).items() if k != "teacher"}
    if name == "tiny-student":
        own["teacher"] = "tiny"
    own |= trained_lengths(domain, training)
    save_model_folder(
        folder,
        loaded.denoiser,
        loaded.vocabulary,
        card=card(name, record, domain.words),
        run=record,
        dtype=domain.dtype,
        extra_config={"didi": own},
        write_tokenizer=domain.tokenizer_of(loaded),
    )
    leave_curve(name, folder, domain, held_out)
    noise = run / "noise.safetensors"
    if noise.is_file():
        shutil.copy(noise, folder)
    check_size(folder)


def leave_curve(name: str, folder: Path, domain: Domain, held_out: Path | None) -> None:
    """Measure a teacher's curve on held-out data; an earlier one is of other weights."""
    (folder / HEADROOM).unlink(missing_ok=True)
    if name == "tiny" and held_out is not None:
        run_headroom(HeadroomOptions(model=str(folder), data=str(held_out)), domain.training)


def bundle_judge(run: Path, domain: Domain, held_out: Path, training: Path | None) -> None:
    folder = domain.bundled.folder("tiny-judge")
    record = run_record(run, training, held_out)
    own = trained_lengths(domain, training)
    text = card("tiny-judge", record, domain.words)
    domain.write_judge(run, folder, text, domain.dtype, {"didi": own} if own else {})
    write_json(folder / "run.json", record)
    write_json(folder / REFERENCE_ROWS, domain.reference_rows(held_out, training))
    check_size(folder)


def trained_lengths(domain: Domain, training: Path | None) -> dict[str, Any]:
    """What `config.json` says under "didi" of the lengths of training data, where these are given.

    A run of today says so itself; one begun earlier does not.
    """
    lengths = None if training is None else domain.lengths_of(training)
    return {} if lengths is None else {TRAINED_LENGTHS: lengths.as_json()}


def check_size(folder: Path) -> None:
    """Refuse weights that are too large for a package."""
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    if size > LARGEST_MB * 1e6:
        raise typer.BadParameter(f"{folder}: {size / 1e6:.1f} MB of weights; {LARGEST_MB} at most")


def run_record(
    run: Path, training: Path | None = None, held_out: Path | None = None
) -> dict[str, Any]:
    """The run's record without the paths of the machine it ran on.

    Args:
        training, held_out: what its `data` and `valid` are called for a reader, where they have
            such a name.
    """
    record = json.loads((run / "run.json").read_text())
    for key in PATHS:
        value = record["settings"].get(key)
        if value:
            record["settings"][key] = Path(value).name
    for key, known in (("data", training), ("valid", held_out)):
        if known is not None and record["settings"].get(key):
            record["settings"][key] = str(known)
    last = (run / "metrics.jsonl").read_text().splitlines()[-1]
    record["updates"] = json.loads(last)["step"]
    return record


if __name__ == "__main__":
    typer.run(main)
