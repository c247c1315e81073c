"""Fine-tuning on PDZ domains: held-out likelihood against time, by what training starts from.

    python -m benchmarks.fine_tune --runs runs/fine_tune --families families_train.fasta.gz \
        --out benchmarks/results/fine_tune.json --seconds 1800 --teacher-seconds 3600

Three starts of the same shape: `scratch`, fresh weights; `lactamases`, a teacher that was trained
on class A beta-lactamases alone; `families`, one that was trained on `--families` without relatives
of PDZ domains: all that HMMER aligns to their profile at an E-value of 10 or less (of 10,000
sequences) is removed. Each is trained on 100, 1,000 and all training members of PF00595 (smaller
sets are parts of larger ones) for the same time. At each of a grid of times its bound on
`PF00595-held-out` is measured, whole clusters of which training has no member. The rate is
constant, so that every point is that of a run of this length but for the last decay; fresh weights
have a gentle start of 100 updates, the teachers' own included. Time is that
of updates: what teachers took before is not counted, nor is measuring.

Every point is written when it is measured, and a run of this program goes on where another stopped:
`--starts`, `--members` and `--seeds` choose a part. Run nothing else on the machine meanwhile.
Intervals are 95%, by a bootstrap over sequences.
"""

import itertools
import json
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

from benchmarks.held_out_likelihood import Split, bound_of, counted, mean_of
from didi_core.cli.hydra_app import compose_plain
from didi_core.cli.run import run_program
from didi_core.distill.optimizers import OptimizerSettings
from didi_core.errors import UserError
from didi_core.io.files import write_json
from didi_core.training.curricula import CurriculumSettings
from didi_core.training.run_folder import git_revision, package_versions, read_metrics
from didi_protein.families.alignments import read_alignment
from didi_protein.families.likelihood import profile_nats
from didi_protein.families.profile import FamilyProfile
from didi_protein.pretrain import pretrain
from didi_protein.sequences.bundled import HELD_OUT, bundled_sequences
from didi_protein.sequences.fasta import ProteinRecord, unique_ids, write_fasta
from didi_protein.sequences.training_data import read_training_sequences
from didi_protein.settings import ModelSettings, PretrainSettings

FAMILY, OTHER = "PF00595", "PF13354"
STARTS = ("scratch", "lactamases", "families")
ALL = "all"
CONSTANT_RATE = OptimizerSettings(
    name="muon", lr=3e-3, muon_lr=6e-3, betas=(0.9, 0.98), warmup_steps=50, decay_fraction=0.0
)
GENTLE_START = CurriculumSettings(steps=100)
"""Of what begins with fresh weights."""


@dataclass(frozen=True)
class Point:
    """One model, after some time."""

    seconds: float
    """Of updates."""
    updates: int
    nats: float
    """A residue, of held-out sequences: an upper bound."""
    low: float
    high: float


@dataclass(frozen=True)
class Study:
    """What is run, and where its parts lie."""

    runs: Path
    families: Path
    held_out: Split
    teacher_seconds: float
    times: tuple[float, ...]
    tokens_per_batch: int
    device: str

    def settings(self, data: str, out: Path, seconds: float, seed: int = 0) -> PretrainSettings:
        """Return the settings of a run of the bundled teacher's shape that ends by the clock."""
        return PretrainSettings(
            data=data,
            out=str(out),
            model=ModelSettings(**compose_plain("pretrain", ())["model"]),
            steps=1_000_000,
            max_seconds=seconds,
            tokens_per_batch=self.tokens_per_batch,
            optimizer=CONSTANT_RATE,
            curriculum=GENTLE_START,
            seed=seed,
            device=self.device,
            resume=True,
            log_every=50,
            checkpoint_every=1_000,
        )

    def teacher(self, start: str) -> Path | None:
        """Return the folder of the model that training starts from, trained here unless it is."""
        if start == "scratch":
            return None
        folder = self.runs / f"teacher-{start}"
        data = OTHER if start == "lactamases" else str(self.without_relatives())
        if not (folder / "config.json").is_file():
            pretrain(self.settings(data, folder, self.teacher_seconds))
        return folder

    def without_relatives(self) -> Path:
        """Return the file of `--families` without what aligns to the profile of PDZ domains."""
        path = self.runs / "families-without-relatives.fasta"
        if path.is_file():
            return path
        records = read_training_sequences(self.families, name="--families ")
        profile = FamilyProfile.read(bundled_sequences(FAMILY)[0])
        relatives = profile.align([sequence for _, sequence in records]).aligned
        kept = [each for each, is_one in zip(records, relatives, strict=True) if not is_one]
        write_records(path, kept)
        print(f"{path}: {relatives.sum():,} of {len(records):,} removed.", file=sys.stderr)
        return path

    def members(self, count: str, seed: int) -> str:
        """Return the data of so many training members."""
        if count == ALL:
            return FAMILY
        path = self.runs / f"members-{count}-seed{seed}.fasta"
        if not path.is_file():
            records = read_training_sequences(FAMILY)
            order = np.random.default_rng(seed).permutation(len(records))
            write_records(path, [records[at] for at in order[: int(count)]])
        return str(path)

    def point(self, start: str, count: str, seed: int, seconds: float) -> Point:
        """Train one cell up to a time, and measure it."""
        teacher = self.teacher(start)
        out = self.runs / f"{start}-{count}-seed{seed}"
        if seconds == 0:
            return self.measure(str(teacher), 0, 0.0, seed)
        settings = self.settings(self.members(count, seed), out, seconds, seed)
        if teacher is not None:
            settings.init, settings.model = str(teacher), ModelSettings()
            settings.curriculum = CurriculumSettings()
        pretrain(settings)
        return self.measure(str(out), read_metrics(out)[-1]["step"], seconds, seed)

    def measure(self, model: str, updates: int, seconds: float, seed: int) -> Point:
        """Return the bound of a folder's model on the held-out clusters."""
        found = mean_of(bound_of(model, self.held_out, seed), self.held_out, seed)
        return Point(seconds, updates, found.mean, found.low, found.high)


def main(
    runs: Annotated[Path, typer.Option(help="Folder of the models.")],
    families: Annotated[Path, typer.Option(help="FASTA of many families.")],
    out: Annotated[Path, typer.Option(help="JSON to write or continue.")],
    seconds: Annotated[float, typer.Option(help="Longest training of a cell.")] = 1800.0,
    teacher_seconds: Annotated[float, typer.Option(help="Training of each teacher.")] = 3600.0,
    points: Annotated[int, typer.Option(help="Times, each half of the next.")] = 6,
    starts: Annotated[str, typer.Option(help="Between commas.")] = ",".join(STARTS),
    members: Annotated[
        str, typer.Option(help="Training members, between commas.")
    ] = "100,1000,all",
    seeds: Annotated[str, typer.Option(help="Between commas.")] = "0",
    num_held_out: Annotated[int, typer.Option(help="Held-out sequences; 0: all.")] = 0,
    tokens_per_batch: Annotated[int, typer.Option(help="Of an update.")] = 8192,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda.")] = "auto",
) -> None:
    """Measure every point that the file does not hold yet."""
    chosen = starts.split(",")
    if unknown := set(chosen) - set(STARTS):
        raise UserError(f"--starts {','.join(unknown)}: choose of {', '.join(STARTS)}.")
    runs.mkdir(parents=True, exist_ok=True)
    held_out = first_of(
        Split.of(read_alignment(bundled_sequences(FAMILY + HELD_OUT)[0])), num_held_out
    )
    times = tuple(seconds / 2**power for power in reversed(range(points)))
    study = Study(runs, families, held_out, teacher_seconds, times, tokens_per_batch, device)
    record = opened(out, study)
    parts = itertools.product(map(int, seeds.split(",")), members.split(","), chosen)
    for seed, count, start in parts:
        curve = record["curves"].setdefault(f"{start}/{count}/{seed}", [])
        done = [each["seconds"] for each in curve]
        for time in times if start == "scratch" else (0.0, *times):
            if time not in done:
                point = study.point(start, count, seed, time)
                curve.append(asdict(point))
                write_json(out, record)
                print(f"{start}/{count}/{seed}: {point}", flush=True)


def opened(out: Path, study: Study) -> dict[str, Any]:
    """Return the record that a file holds, or a new one with what counting reaches.

    Raises:
        UserError: it holds times of another grid, or of other teachers.
    """
    asked = {
        "times": list(study.times),
        "teacher_seconds": study.teacher_seconds,
        "tokens_per_batch": study.tokens_per_batch,
        "optimizer": asdict(CONSTANT_RATE) | {"betas": list(CONSTANT_RATE.betas)},
        "num_held_out": len(study.held_out.sequences),
    }
    if out.is_file():
        record: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
        if record["settings"] != asked:
            raise UserError(f"--out {out} holds other settings: {record['settings']}.")
        return record
    training = Split.of(read_alignment(bundled_sequences(FAMILY)[0]))
    profile = FamilyProfile.read(bundled_sequences(FAMILY)[0])
    nats = counted(training, study.held_out)
    nats["profile"] = profile_nats(profile, study.held_out.sequences)
    return {
        "settings": asked,
        "counting": {
            name: mean_of(each, study.held_out, 0).as_dict() for name, each in nats.items()
        },
        "curves": {},
        "machine": {"processor": platform.machine(), "threads": torch.get_num_threads()},
        "versions": package_versions(),
        "git_revision": git_revision(),
    }


def first_of(split: Split, count: int) -> Split:
    """Return a part of a split, drawn at random; all of it with 0."""
    if not 0 < count < len(split.sequences):
        return split
    few = np.random.default_rng(0).permutation(len(split.sequences))[:count]
    return Split(split.rows[few], [split.sequences[at] for at in few])


def write_records(path: Path, records: Sequence[tuple[str, str]]) -> None:
    """Write ids and sequences as FASTA."""
    ids = unique_ids([each for each, _ in records])
    sequences = [sequence for _, sequence in records]
    write_fasta(path, [ProteinRecord(*each) for each in zip(ids, sequences, strict=True)])


if __name__ == "__main__":
    app = typer.Typer(help=__doc__, pretty_exceptions_enable=False)
    app.command()(main)
    sys.exit(run_program(lambda: app(standalone_mode=False), goes_on=True))
