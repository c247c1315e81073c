"""`--exclude` and `--bias`: what is added to the log-probability of each residue."""

import json
import math
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from didi_core.data.vocabulary import Vocabulary
from didi_core.errors import UserError
from didi_core.io.tables import read_csv
from didi_core.io.text_files import UTF_8, encoding_explained, refuse_other_text
from didi_protein.sequences.residues import CANONICAL_RESIDUES

_SEPARATORS = {".csv": ",", ".tsv": "\t"}


def log_bias(
    exclude: str, nats: dict[str, float], vocabulary: Vocabulary
) -> Float[Tensor, "generable"] | None:
    """Nats for each generable id, -inf for those excluded; None when nothing is asked for."""
    if not exclude and not nats:
        return None
    letters = [vocabulary.tokens[index] for index in vocabulary.generable_ids]
    values = [-math.inf if letter in exclude else nats.get(letter, 0.0) for letter in letters]
    return torch.tensor(values, dtype=torch.float64)


def check_exclude(text: str) -> str:
    """The letters of `--exclude`, without commas and blanks, each once, sorted.

    Raises:
        UserError: a letter is no residue, or no residue is left.
    """
    letters = "".join(sorted(set(text.replace(",", "").replace(" ", "").upper())))
    wrong = [letter for letter in letters if letter not in CANONICAL_RESIDUES]
    if wrong:
        raise UserError(
            f"--exclude {text}: {', '.join(wrong)} is no residue; give letters of "
            f"{''.join(sorted(CANONICAL_RESIDUES))}."
        )
    if len(letters) == len(CANONICAL_RESIDUES):
        raise UserError(f"--exclude {text}: no residue is left to design with.")
    return letters


def read_bias(path: Path | None) -> dict[str, float]:
    """Nats by residue from a .csv or .tsv table (columns residue, nats) or a .json object.

    Raises:
        UserError: the file cannot be read, or holds something else.
    """
    if path is None:
        return {}
    pairs = _json_pairs(path) if path.suffix == ".json" else _table_pairs(path)
    bias: dict[str, float] = {}
    for residue, value in pairs:
        letter = str(residue).strip().upper()
        if letter not in CANONICAL_RESIDUES or len(letter) != 1:
            raise UserError(f"--bias {path}: {residue!r} is no residue (one of the 20 letters).")
        if letter in bias:
            raise UserError(f"--bias {path}: residue {letter} stands there twice.")
        bias[letter] = _as_nats(value, letter, path)
    if not bias:
        raise UserError(f"--bias {path}: holds no residue.")
    return bias


def _as_nats(value: object, letter: str, path: Path) -> float:
    try:
        nats = float(str(value))
    except ValueError:
        nats = math.nan
    if not math.isfinite(nats):
        raise UserError(
            f"--bias {path}: {value!r} for residue {letter} is no finite number of nats "
            "(to forbid a residue use --exclude)."
        )
    return nats


def _json_pairs(path: Path) -> list[tuple[str, object]]:
    try:
        # Pairs, not a dictionary: a residue that stands there twice must be seen.
        with encoding_explained(f"--bias {path}"):
            refuse_other_text((raw := path.read_bytes())[:4096], f"--bias {path}")
            content = json.loads(raw.decode(UTF_8), object_pairs_hook=list)
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"--bias {path}: cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise UserError(f"--bias {path}: is not JSON ({error}).") from error
    if not isinstance(content, list) or not all(isinstance(each, tuple) for each in content):
        raise UserError(f'--bias {path}: must be an object of nats, as in {{"A": 0.5, "C": -2}}.')
    return content


def _table_pairs(path: Path) -> list[tuple[str, object]]:
    separator = _SEPARATORS.get(path.suffix)
    if separator is None:
        raise UserError(f"--bias {path}: must be a .csv, .tsv or .json file.")
    table = read_csv(path, "--bias", ("residue", "nats"), separator)
    if not {"residue", "nats"} <= set(table):
        raise UserError(f"--bias {path}: the table needs the columns residue and nats.")
    return list(zip(table["residue"], table["nats"], strict=True))
