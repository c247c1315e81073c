"""Models as objects, scores as tables: the verbs for a notebook.

    student = didi_protein.load("tiny-student")
    designs = student.sample(10, length="70-82", steps=8, seed=0)
    table = didi_protein.score_sequences(designs, family="PF00595")

Each function does what its verb does, with the verb's options as keywords: `--max-repeat 0.2` is
`max_repeat=0.2`. Paths may be strings, lists of numbers stand for `12,15,40-50`, and sequences for
files. What a verb refuses is a `UserError` with the same sentence. Files that are not asked for by
`out=` are temporary. This file imports no torch.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from warnings import warn

from didi_core.cli.keyword_options import Options, options_from
from didi_core.errors import UserError
from didi_core.progress import counted
from didi_protein.given import Sequences, file_given, input_files
from didi_protein.sequences.fasta import ProteinRecord

if TYPE_CHECKING:
    import pandas as pd

    from didi_core.models.folder import LoadedModel
    from didi_protein.models.judges import MaskedScorer


def load(
    name: str | os.PathLike[str],
    *,
    device: str = "auto",
    precision: str = "float32",
    offline: bool = False,
) -> "ProteinModel":
    """Open a model that writes proteins.

    Args:
        name: a bundled name (tiny, tiny-student), a folder, a training checkpoint or a hub id.
        device: auto (a GPU where there is one), cpu, cuda or cuda:N.
        precision: of the network: float32, bf16, or auto (bf16 where it is native).
        offline: never touch the network.

    Raises:
        UserError: there is no such model, or it cannot be opened.
    """
    from didi_core.training.devices import TORCH_TYPES, resolve_device, resolve_precision
    from didi_protein.models.writers import open_writer

    place = resolve_device(device)
    precision = resolve_precision(precision, place)
    dtype = TORCH_TYPES[precision]
    opened = open_writer(os.fspath(name), place, offline=offline, dtype=dtype)
    return ProteinModel(opened.name, device, precision, offline, opened)


@dataclass(frozen=True)
class ProteinModel:
    """A model that is open: it writes proteins, says what can change in one, and scores them."""

    name: str
    """A bundled name, a folder or a hub id."""
    device: str
    """Where it computes, as asked for."""
    precision: str
    """Of the network: float32 or bf16."""
    offline: bool
    """Whether nothing may be fetched, such as a judge."""
    opened: "LoadedModel" = field(repr=False)
    """Network, vocabulary and configuration."""

    @property
    def folder(self) -> Path:
        """Folder that it was read from."""
        return self.opened.folder

    def sample(
        self,
        num: int,
        length: int | str | None = None,
        *,
        steps: int | None = None,
        seed: int = 0,
        **options: Any,
    ) -> list[ProteinRecord]:
        """Write proteins, as `generate` does: each with its id, sequence and header.

        Args:
            num: designs to make; with `template` or `start`, of each template or parent.
            length: residues: 100, "80-120", or [50, 100] in turn.
            steps: denoising steps, one network call each at most. Default: as `generate` has it.
            seed: of every random number; the same seed gives the same designs.
            options: any other field of `GenerateOptions`, such as `template="8-12:GLGF:55-65"`, or
                `start=[...]` with sequences; `out="designs.fasta"` keeps the file.

        Returns:
            The designs, in order. Those that could not be made as asked are left out, with a
            warning.

        Raises:
            UserError: options without sense, in the words of `generate`.
        """
        from didi_protein.generate import GenerateOptions, generate
        from didi_protein.sequences.fasta import read_records

        asked = {"num": num, "length": length, "steps": steps, "seed": seed, **options}
        with _temporary_folder() as folder:
            asked = {"out": folder / "designs.fasta", **self._common(), **asked}
            made = generate(_options(GenerateOptions, asked, folder), self.opened)
            if made is None:  # another process of torchrun has them
                return []
            if made.failed:
                total = made.num_made + len(made.failed)
                reasons = "; ".join(f"{each.id}: {each.reason}" for each in made.failed[:3])
                warn(
                    f"{len(made.failed)} of {counted(total, 'design')} failed: {reasons}",
                    stacklevel=2,
                )
            return read_records([made.out]) if made.num_made else []

    def scan(self, sequences: Sequences, **options: Any) -> "pd.DataFrame":
        """Score every single substitution of sequences, as `scan` does; of masked models.

        Args:
            sequences: sequences or paths.
            options: any other field of `ScanOptions`, such as `positions=[12, 15]`;
                `out="scan.csv"` keeps the table.

        Returns:
            A row each substitution, in the columns of docs/scan.md.

        Raises:
            UserError: what cannot be read, or options without sense, in the words of `scan`.
        """
        from didi_protein.scan import ScanOptions, scan
        from didi_protein.scanning.table import read_frame

        with _temporary_folder() as folder:
            inputs = input_files(sequences, folder)
            asked = {"out": folder / "scan.csv", **self._common(), "inputs": inputs, **options}
            done = scan(_options(ScanOptions, asked, folder), self._opened_for(asked))
            return read_frame(done.out)

    def score(self, sequences: Sequences, **options: Any) -> "pd.DataFrame":
        """Score sequences with this model, as `score_sequences` does with its own.

        A masked model gives the column `pseudo_perplexity`, an autoregressive one
        `judge_perplexity`, where `pseudo` and `judge` do not name others.
        """
        from didi_core.models.causal import AUTOREGRESSIVE

        asked = {key: value for key, value in self._common().items() if key != "model"}
        if self.opened.process == AUTOREGRESSIVE:
            return score_sequences(sequences, **{**asked, "judge": self.name, **options})
        return _score(sequences, {**asked, "pseudo": self.name, **options}, self)

    def _common(self) -> dict[str, Any]:
        """Return the options that say what computes, and where."""
        return {
            "model": self.name,
            "device": self.device,
            "precision": self.precision,
            "offline": self.offline,
        }

    def _opened_for(self, options: Mapping[str, Any]) -> "LoadedModel | None":
        """Return the network, where it is the one that options ask for: scores are in float32."""
        own = {**self._common(), "precision": "float32"}
        same = all(options.get(key, value) == value for key, value in own.items())
        return self.opened if same and self.precision == "float32" else None


def score_sequences(sequences: Sequences, **options: Any) -> "pd.DataFrame":
    """Score sequences, as `score` does: a row each, in their order.

    Args:
        sequences: sequences or paths: designs of `sample`, texts, {id: sequence}, a table with a
            column `sequence`, FASTA files, structures or folders of them.
        options: any other field of `ScoreOptions`, such as `judge="none"`, `family="PF00595"`, or
            `reference=[...]` with sequences; `out="scores.csv"` keeps the table and its summary.

    Returns:
        The columns of docs/outputs.md. A sequence that cannot be scored is a row whose `status` is
        not ok.

    Raises:
        UserError: what cannot be read, or options without sense, in the words of `score`.
    """
    return _score(sequences, options, None)


def _score(
    sequences: Sequences, options: Mapping[str, Any], model: ProteinModel | None
) -> "pd.DataFrame":
    """Score sequences; the pseudo-perplexity by `model`, where it is the one asked for."""
    from didi_protein.score import ScoreOptions, score

    with _temporary_folder() as folder:
        asked = {"out": folder / "scores.csv", **options, "inputs": input_files(sequences, folder)}
        chosen = _options(ScoreOptions, asked, folder)
        done = score(chosen, masked=_masked_scorer(model, asked))
        if done is None:
            raise UserError(
                "score_sequences is for one process: under torchrun use the verb score."
            )
        table = done.table.copy()
        if chosen.out.parent == folder:  # where the table lies no longer says where structures are
            table["pdb_file"] = [
                str((folder / path).resolve()) if isinstance(path, str) else path
                for path in table["pdb_file"]
            ]
        return table


def _masked_scorer(model: ProteinModel | None, options: Mapping[str, Any]) -> "MaskedScorer | None":
    """Return an open model as one that scores, where options ask for it."""
    from didi_protein.models.judges import masked_scorer

    if model is None or options["pseudo"] != model.name:
        return None
    opened = model._opened_for(options)
    return None if opened is None else masked_scorer(opened)


def distill_model(
    teacher: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    device: str = "auto",
    offline: bool = False,
    **settings: Any,
) -> ProteinModel:
    """Distil a teacher into a student that needs few network calls, as `distill` does.

    Args:
        teacher: a bundled name (tiny), a folder or a hub id.
        out: folder of the run and of the student.
        device: auto, cpu or cuda.
        offline: never touch the network.
        settings: any other setting of `DistillSettings`: `reference="pool"`, or
            `data="proteins.fasta"`, or `data=[...]` with sequences; `steps=400`, `method="dmmd"`.
            Those of a method stand in a dictionary:
            `method={"name": "dmmd", "student": {"lr": 1e-4}}`.

    Returns:
        The student, open.

    Raises:
        UserError: settings without sense, an output that exists, or unreadable input, in the words
            of `distill`.
    """
    from didi_core.cli.hydra_app import compose_settings
    from didi_protein.distill import distill
    from didi_protein.settings import DistillSettings

    given = {"teacher": teacher, "out": out, "device": device, "offline": offline, **settings}
    with _temporary_folder() as folder:
        if (data := file_given("data", given.get("data"), folder)) is not None:
            if given.get("resume"):
                raise UserError(
                    "resume=true: the run began with data= of a file; give a path, not sequences."
                )
            given["data"] = data
        overrides = [each for name, value in given.items() for each in _overrides(name, value)]
        done = distill(compose_settings("distill", DistillSettings, overrides))
    return load(done, device=device, offline=offline)


def _overrides(name: str, value: Any) -> Iterator[str]:
    """Yield a setting as the command line writes it; those of a dictionary by their full names."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            # The name of a method chooses its settings.
            yield from _overrides(name if key == "name" else f"{name}.{key}", inner)
        return
    if value is None or isinstance(value, bool):
        text = "null" if value is None else str(value).lower()
    elif isinstance(value, list | tuple):
        text = f"[{','.join(map(str, value))}]"
    else:
        text = str(value)
    yield f"{name}={text}"


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    with TemporaryDirectory(prefix="didi-") as folder:
        yield Path(folder)


def _options(options_class: type[Options], given: Mapping[str, Any], folder: Path) -> Options:
    """Return a verb's options; sequences given where it reads a file are written into `folder`."""
    asked = {"quiet": True, **given}
    return options_from(options_class, asked, lambda name, value: file_given(name, value, folder))
