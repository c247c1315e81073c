"""pTM and PAE that ColabFold and AlphaFold DB write as JSON beside a model.

ColabFold: `X_unrelaxed_rank_001_M.pdb` and `X_scores_rank_001_M.json`, in earlier versions
`X_unrelaxed_rank_1_M.pdb` and `X_unrelaxed_rank_1_M_scores.json`. AlphaFold DB: `AF-X-F1-model_v4`
and `AF-X-F1-predicted_aligned_error_v4.json`.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

_COLABFOLD = re.compile(r"(.*)_(?:un)?relaxed_(.*)")
_ALPHAFOLD = re.compile(r"(AF-.*)-model_(v\d+)")
_PAE_KEYS = ("pae", "predicted_aligned_error")


def read_sidecar(structure: Path, num_residues: int) -> dict[str, float]:
    """`ptm` (0 to 1) and `mean_pae` (ångström, over all pairs), as far as a JSON states them.

    A JSON whose PAE is not of `num_residues` residues belongs to something else: nothing is taken.
    """
    for path in _candidates(structure):
        if path.is_file():
            return _read(path, num_residues)
    return {}


def _candidates(structure: Path) -> Iterator[Path]:
    stem = Path(structure.name.removesuffix(".gz")).stem
    names = [f"{stem}_scores.json"]
    if found := _COLABFOLD.fullmatch(stem):
        first, rest = found.groups()
        names += [f"{first}_scores_{rest}.json", f"{first}_unrelaxed_{rest}_scores.json"]
    if found := _ALPHAFOLD.fullmatch(stem):
        names.append(f"{found[1]}-predicted_aligned_error_{found[2]}.json")
    yield from (structure.with_name(name) for name in names)


def _read(path: Path, num_residues: int) -> dict[str, float]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):
        return {}
    if isinstance(content, list) and content:
        content = content[0]
    if not isinstance(content, dict):
        return {}
    pae = next((_matrix(content[key]) for key in _PAE_KEYS if key in content), None)
    if pae is None or pae.shape != (num_residues, num_residues) or not np.isfinite(pae).all():
        return {}
    found = {"mean_pae": float(pae.mean())}
    ptm = content.get("ptm")
    if isinstance(ptm, int | float) and 0 <= ptm <= 1:
        found["ptm"] = float(ptm)
    return found


def _matrix(value: Any) -> np.ndarray | None:
    try:
        return np.array(value, dtype=np.float64)
    except (ValueError, TypeError):
        return None
