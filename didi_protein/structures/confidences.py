"""What predictors write beside a structure: pTM, ipTM, PAE, and the score that ranks models.

    read_confidences("boltz", Path("confidence_x_model_0.json"), Path("pae_x_model_0.npz"))

Units are the table's: pTM and ipTM from 0 to 1, PAE in ångström. pLDDT is none of these files'
business: all four programs write it into the B-factors (`didi_protein.structures.plddt`).
"""

import json
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from didi_core.errors import UserError

Tool = Literal["colabfold", "boltz", "chai", "alphafold3"]
_PAE_KEYS = ("pae", "predicted_aligned_error")
ALONE = "give the structure file itself to do without"


@dataclass(frozen=True)
class Confidences:
    """What the files of one model say; None where they do not say it."""

    ptm: float | None = None
    """Of the whole complex."""
    iptm: float | None = None
    """Of all its interfaces."""
    ranking_score: float | None = None
    """By which the program ranks the models of a design: the higher the better."""
    chain_ptm: tuple[float | None, ...] = ()
    """Of each chain alone, in the order of the file; () where it is not stated."""
    chain_ids: tuple[str, ...] = ()
    """Their names, where they are stated."""
    pae: Float[ndarray, "tokens tokens"] | None = None
    """Of each pair of tokens, in ångström: a token is a residue, or an atom of what is none."""
    token_chains: tuple[str, ...] = ()
    """The chain of each token, where it is stated."""
    num_plddt: int | None = None
    """How many residues have a pLDDT beside the PAE, where that is stated."""


def read_confidences(tool: Tool, scores: Path, pae: Path | None) -> Confidences:
    """Read what one model's files say.

    Args:
        scores: must be there.
        pae: may be missing; None where it is not wanted.

    Raises:
        UserError: `scores` is missing, or a file cannot be read or holds no such values.
    """
    if not scores.is_file():
        raise UserError(
            f"{scores} is missing, the confidences beside the model: copy the whole output folder, "
            f"or {ALONE}."
        )
    return _READERS[tool](scores, pae if pae is not None and pae.is_file() else None)


def _colabfold(scores: Path, pae: Path | None) -> Confidences:
    content = read_json(scores)
    plddt = content.get("plddt")
    return Confidences(
        ptm=_share(content, "ptm", scores),
        iptm=_share(content, "iptm", scores),
        pae=None if pae is None else _matrix(content, _PAE_KEYS, scores),
        num_plddt=len(plddt) if isinstance(plddt, list) and plddt else None,
    )


def _boltz(scores: Path, pae: Path | None) -> Confidences:
    content = read_json(scores)
    chains = content.get("chains_ptm") or {}
    if not isinstance(chains, dict) or not all(key.isdecimal() for key in chains):
        raise UserError(f"{scores}: chains_ptm is no table of chains; copy the file again.")
    return Confidences(
        ptm=_share(content, "ptm", scores),
        iptm=_share(content, "iptm", scores),
        ranking_score=_number(content, "confidence_score", scores),
        chain_ptm=tuple(_share(chains, key, scores) for key in sorted(chains, key=int)),
        pae=None if pae is None else _matrix(read_npz(pae), ("pae",), pae),
    )


def _chai(scores: Path, _pae: Path | None) -> Confidences:
    content = read_npz(scores)
    single = {
        name: values.item()
        for name in ("ptm", "iptm", "aggregate_score")
        if (values := content.get(name)) is not None and values.size == 1
    }
    chains = content.get("per_chain_ptm", np.zeros(0)).reshape(-1).tolist()
    return Confidences(
        ptm=_share(single, "ptm", scores),
        iptm=_share(single, "iptm", scores),
        ranking_score=_number(single, "aggregate_score", scores),
        chain_ptm=tuple(
            _share({"per_chain_ptm": each}, "per_chain_ptm", scores) for each in chains
        ),
    )


def _alphafold3(scores: Path, pae: Path | None) -> Confidences:
    content = read_json(scores)
    full = {} if pae is None else read_json(pae)
    chains = _list(content, "chain_ptm", scores)
    return Confidences(
        ptm=_share(content, "ptm", scores),
        iptm=_share(content, "iptm", scores),
        ranking_score=_number(content, "ranking_score", scores),
        chain_ptm=tuple(_share({"chain_ptm": each}, "chain_ptm", scores) for each in chains),
        chain_ids=tuple(map(str, _list(content, "chain_ids", scores))),
        pae=None if pae is None else _matrix(full, ("pae",), pae),
        token_chains=tuple(map(str, _list(full, "token_chain_ids", pae or scores))),
    )


def read_alphafold_db(path: Path, num_residues: int) -> float:
    """Return the mean PAE that AlphaFold DB states for a model of so many residues.

    Raises:
        UserError: it cannot be read, or is of another number of residues.
    """
    pae = _matrix(read_json(path), _PAE_KEYS, path)
    if pae is None or len(pae) != num_residues:
        raise _other_size(path, f"a PAE of {0 if pae is None else len(pae)} residues", num_residues)
    return float(pae.mean())


_READERS: Mapping[Tool, Callable[[Path, Path | None], Confidences]] = {
    "colabfold": _colabfold,
    "boltz": _boltz,
    "chai": _chai,
    "alphafold3": _alphafold3,
}


# From what the files of a model say to the columns of each of its chains.


def columns_of(
    confidences: Confidences, chains: Sequence[tuple[str, int]], has_others: bool, called: Path
) -> list[dict[str, float]]:
    """Return the columns of each protein chain: ptm, mean_pae, iptm, and those of the complex.

    pTM and PAE of a chain are its own: the pTM that the program states for it, and the mean PAE
    over all pairs of its tokens. A protein alone has those of the file.

    Args:
        chains: name and number of residues of each, in the order of the structure file.
        has_others: whether that holds more than proteins, so that tokens are not residues alone.
        called: the file, for messages.

    Raises:
        UserError: the PAE or pLDDT is of another number of residues than the structure.
    """
    blocks = _blocks(confidences, chains, has_others, called)
    is_complex = len(chains) > 1 or len(confidences.chain_ptm) > 1
    common: dict[str, float | None] = {"ranking_score": confidences.ranking_score}
    if is_complex:
        pae = confidences.pae
        common |= {
            "iptm": confidences.iptm,
            "complex_ptm": confidences.ptm,
            "complex_pae": None if pae is None else float(pae.mean()),
        }
    own = [
        {
            "ptm": _ptm_of(confidences, place, chains) if is_complex else confidences.ptm,
            "mean_pae": None if block is None else float(block.mean()),
        }
        for place, block in enumerate(blocks)
    ]
    return [
        {name: value for name, value in {**each, **common}.items() if value is not None}
        for each in own
    ]


def _ptm_of(
    confidences: Confidences, place: int, chains: Sequence[tuple[str, int]]
) -> float | None:
    """Return the pTM of one chain; None where it is not plain which of the stated ones is its."""
    stated = confidences.chain_ptm
    name = chains[place][0]
    if len(confidences.chain_ids) == len(stated) and confidences.chain_ids.count(name) == 1:
        return stated[confidences.chain_ids.index(name)]
    return stated[place] if len(stated) == len(chains) else None


def _blocks(
    confidences: Confidences, chains: Sequence[tuple[str, int]], has_others: bool, called: Path
) -> list[Float[ndarray, "residues residues"] | None]:
    """Return the part of the PAE that lies within each chain; None where that is not plain."""
    pae, total = confidences.pae, sum(length for _, length in chains)
    if confidences.num_plddt not in (None, total) and not has_others:
        raise _other_size(called, f"{confidences.num_plddt} values of pLDDT", total)
    if pae is None:
        return [None] * len(chains)
    if confidences.token_chains:
        return _blocks_by_name(pae, confidences.token_chains, chains, called)
    if len(pae) != total:
        if has_others and len(pae) > total:
            return [None] * len(chains)
        raise _other_size(called, f"a PAE of {len(pae)} residues", total)
    ends = np.cumsum([length for _, length in chains])
    return [
        pae[end - length : end, end - length : end]
        for end, (_, length) in zip(ends, chains, strict=True)
    ]


def _blocks_by_name(
    pae: Float[ndarray, "tokens tokens"],
    token_chains: Sequence[str],
    chains: Sequence[tuple[str, int]],
    called: Path,
) -> list[Float[ndarray, "residues residues"] | None]:
    if len(pae) != len(token_chains):
        raise _other_size(called, f"a PAE of {len(pae)} tokens", len(token_chains), "tokens")
    names = np.array(token_chains)
    places = [np.flatnonzero(names == name) for name, _ in chains]
    for (name, length), own in zip(chains, places, strict=True):
        if len(own) < length:
            raise _other_size(called, f"{len(own)} tokens of chain {name}", length)
    return [pae[np.ix_(own, own)] for own in places]


def _other_size(called: Path, found: str, expected: int, unit: str = "residues") -> UserError:
    return UserError(
        f"{called}: the file holds {found}, the structure has {expected} {unit}: they are of two "
        f"runs; copy the output folder again, or {ALONE}."
    )


# Files that may be cut short, or hold something else.

_DAMAGE = (
    *(OSError, ValueError, EOFError, LookupError, TypeError, SyntaxError, MemoryError),
    *(NotImplementedError, OverflowError, zipfile.BadZipFile, zlib.error, struct.error),
)
"""What NumPy and zipfile raise on archives that are damaged."""


def read_json(path: Path) -> dict[str, Any]:
    """Return the object that a JSON file holds; of a list (AlphaFold DB), its first.

    Raises:
        UserError: it cannot be read, or is no JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read ({error}): copy it again, or {ALONE}.") from error
    if isinstance(content, list) and content:
        content = content[0]
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no JSON object: copy it again, or {ALONE}.")
    return content


def read_npz(path: Path) -> dict[str, ndarray]:
    """Return the arrays of a NumPy archive; objects in it are refused, never built.

    Raises:
        UserError: it cannot be read.
    """
    try:
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise ValueError("it is no NumPy archive")
        with archive:
            return {name: archive[name] for name in archive.files}
    except _DAMAGE as error:
        raise UserError(f"{path} cannot be read ({error}): copy it again, or {ALONE}.") from error


def _number(content: Mapping[str, Any], key: str, path: Path) -> float | None:
    """Return a number; None where it is not stated, or as null."""
    value = content.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        raise UserError(f"{path}: {key} is {value!r}, no number; copy the file again, or {ALONE}.")
    return float(value)


def _share(content: Mapping[str, Any], key: str, path: Path) -> float | None:
    """Return a pTM or ipTM."""
    value = _number(content, key, path)
    if value is not None and not 0 <= value <= 1:
        raise UserError(f"{path}: {key} is {value:g}, not from 0 to 1; {ALONE}.")
    return value


def _list(content: Mapping[str, Any], key: str, path: Path) -> list[Any]:
    """Return a list; an empty one where it is not stated."""
    value = content.get(key) or []
    if not isinstance(value, list):
        raise UserError(f"{path}: {key} is no list; copy the file again, or {ALONE}.")
    return value


def _matrix(
    content: Mapping[str, Any], keys: Sequence[str], path: Path
) -> Float[ndarray, "tokens tokens"] | None:
    """Return the first of these that is there; None where none is."""
    value = next((content[key] for key in keys if key in content), None)
    if value is None:
        return None
    try:
        matrix = np.array(value, dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: its PAE is no matrix of numbers; {ALONE}.") from error
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not np.isfinite(matrix).all():
        raise UserError(f"{path}: its PAE is no square matrix of finite numbers; {ALONE}.")
    return matrix
