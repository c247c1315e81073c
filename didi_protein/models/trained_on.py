"""What a model was trained on, in its folder: names of the data, and a sketch of their sequences.

`config.json` names the data under `didi.training_data`: what ships by its name, a file by its path
from the folder. `training.sketch` (`similarity.sketch`) says how near a sequence comes to them
where the data are not at hand.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from didi_core.commands.training.domain import TrainedOn
from didi_core.io.files import path_from
from didi_core.models.hub import TRAINING_SKETCH
from didi_protein.sequences.bundled import bundled_sequences
from didi_protein.sequences.training_data import letters_of, read_training_sequences
from didi_protein.similarity.neighbours import COPY_IDENTITY
from didi_protein.similarity.sketch import Sketch

MOST_SKETCHED = 1_000_000
"""Training sequences; of more a sketch would be larger than most models: 68 MB a million."""


def record_data(folder: Path, trained_on: TrainedOn) -> list[str]:
    """Write the sketch of what a model learnt from, its teacher's data included.

    Returns:
        Names of the data, as `config.json` has them.
    """
    parts: dict[str, Sketch] = {}
    names, total = [], 0
    teacher = trained_on.teacher
    if teacher is not None:
        names += [_seen_from(folder, each) for each in data_of(teacher.folder)]
        if (sketch := _sketch_of_model(teacher.folder)) is not None:
            parts[f"what {teacher.name} had learnt from"] = sketch
            total += len(sketch)
    if trained_on.data is not None:
        names.append(_seen_from(folder, trained_on.data))
    if (corpus := trained_on.corpus) is not None:
        total += len(corpus)
        if total <= MOST_SKETCHED:
            parts["data="] = Sketch.of(letters_of(corpus))
    _write(folder / TRAINING_SKETCH, parts, total)
    return list(dict.fromkeys(names))


def _write(path: Path, parts: Mapping[str, Sketch], total: int) -> None:
    """Write one sketch of all parts, and say what it holds, or why there is none.

    Args:
        parts: by where their sequences are from.
    """
    path.unlink(missing_ok=True)
    if total > MOST_SKETCHED:
        print(
            f"{path.name} is left out: {total:,} training sequences, and it is made of at most "
            f"{MOST_SKETCHED:,}.",
            file=sys.stderr,
        )
    elif parts:
        first, *others = parts.values()
        first.joined(*others).save(path)
        sources = " and ".join(f"{len(each):,} of {name}" for name, each in parts.items())
        print(
            f"{path.name}: fingerprints of the different sequences that the model knows, "
            f"{sources}, by which score counts copies ({path.stat().st_size / 1e3:,.0f} kB).",
            file=sys.stderr,
        )


def _seen_from(folder: Path, name: str) -> str:
    """Return the name of data as a model's `config.json` has it."""
    path = Path(name)
    if bundled_sequences(name) or not path.exists():
        return name
    return path_from(folder, path)


def _sketch_of_model(folder: Path) -> Sketch | None:
    """Return the sketch of a model; of one whose data ship, such as a bundled one, a new one."""
    if (path := folder / TRAINING_SKETCH).is_file():
        return Sketch.read(path)
    names = data_of(folder)
    if not names or not all(map(bundled_sequences, names)):
        return None
    return Sketch.of([each for name in names for _, each in read_training_sequences(name)])


def count_known(folder: Path, sequences: Sequence[str]) -> int | None:
    """Count the sequences that the model in `folder` was trained on, or on near copies of.

    Returns:
        By its sketch, those of an estimated identity of `COPY_IDENTITY` or more; None where the
        folder keeps none.
    """
    sketch = _sketch_of_model(folder)
    if sketch is None:
        return None
    return int((sketch.nearest(Sketch.of(sequences))[0] >= COPY_IDENTITY).sum())


def data_of(folder: Path) -> list[str]:
    """Return the names of what a model was trained on: bundled ones, and paths of files.

    A folder that is older than these names has in `run.json` what `data=` was.
    """
    own = _json(folder / "config.json").get("didi")
    names = own.get("training_data") if isinstance(own, dict) else None
    if isinstance(names, list):
        texts = [each for each in names if isinstance(each, str)]
        return [each if bundled_sequences(each) else str(folder / each) for each in texts]
    settings = _json(folder / "run.json").get("settings")
    data = settings.get("data") if isinstance(settings, dict) else None
    return [data] if isinstance(data, str) and data else []


def _json(path: Path) -> dict[str, object]:
    """Read a JSON object; empty where it is missing or damaged: who opens the model says so."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
