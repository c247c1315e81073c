"""What a structure file says of itself beside its atoms: experiment, prediction, or another score.

Read from the records of PDB (EXPDTA, REMARK, TITLE, CRYST1, ANISOU, PARENT) and from the categories
of mmCIF (`_exptl`, `_refine`, `_ma_qa_metric` and others). `structures.plddt` judges by it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

_STATEMENT = re.compile(r"B-FACTORS?\b.*\bPLDDT|\bPLDDT\b.*\bB-FACTOR")
_PROGRAMS = re.compile(
    r"(?P<predictor>ALPHAFOLD|ESMFOLD|COLABFOLD|OPENFOLD|OMEGAFOLD|ROSETTAFOLD|HELIXFOLD|PROTENIX|"
    r"BOLTZ|\bCHAI-?1)"
    r"|(?P<other>SWISS-MODEL|QMEAN|MODELLER|I-TASSER|PHYRE|TRROSETTA|RFDIFFUSION|\bROSETTA\b)"
)
"""Programs that write pLDDT, and those whose B-factor column holds another estimate, or nothing.
The first one named decides: a title stands before the templates and references."""
_EXPERIMENTS = re.compile(
    r"X-RAY|NMR|MICROSCOPY|NEUTRON|DIFFRACTION|CRYSTALLOGRAPHY|SCATTERING|FIBER|EPR|INFRARED|"
    r"FLUORESCENCE"
)
_NAMING_RECORDS = ("HEADER", "TITLE", "COMPND", "AUTHOR", "EXPDTA", "REMARK")
_EXPERIMENTAL_REMARKS = (
    (re.compile(r"REMARK   2 RESOLUTION\.\s+[\d.]+\s+ANG"), "REMARK 2 states a resolution"),
    (re.compile(r"REMARK   3 .*(R VALUE|FREE R)"), "REMARK 3 states a refinement"),
    (re.compile(r"REMARK (200|205|21[0578]|2[34]0|24[57]|265) "), "REMARK 200 to 265 describe it"),
)
_UNIT_CELL = 2.0
"""Ångström: programs without a crystal write a cell of 1 x 1 x 1, or none."""


@dataclass(frozen=True)
class Evidence:
    """Each is a few words that quote the file, or None."""

    experiment: str | None = None
    """Why the file is an experimental structure."""
    predictor: str | None = None
    """Why its B-factor column should hold pLDDT."""
    other_score: str | None = None
    """Why that column should hold another estimate than pLDDT."""
    marks: str | None = None
    """What among the atoms no file of a protein alone, predicted, would have."""


def pdb_evidence(text: str) -> Evidence:
    """Read what the records of a PDB file say; coordinates are not looked at."""
    lines = [line for line in text.splitlines() if line[:6] not in ("ATOM  ", "HETATM")]
    names = [
        (line[:6].strip(), line[6:].strip())
        for line in lines
        if line[:6].strip() in _NAMING_RECORDS
    ]
    parent = next((line.strip() for line in lines if line.startswith("PARENT")), None)
    # CASP's format has PARENT lines too, and leaves open what the B-factors are.
    if any(line.startswith("PFRMAT") for line in lines):
        parent = None
    predictor, other = _programs(names)
    return Evidence(
        experiment=_pdb_experiment(lines),
        predictor=predictor or (parent and f"{parent}, as ESMFold writes"),
        other_score=other,
    )


def _pdb_experiment(lines: Sequence[str]) -> str | None:
    for line in lines:
        if line.startswith("EXPDTA") and _EXPERIMENTS.search(line.upper()):
            return " ".join(line.split())
        if line.startswith("ANISOU"):
            return "ANISOU records"
        if line.startswith("CRYST1") and _is_unit_cell(line):
            return "CRYST1 gives a unit cell"
        for pattern, reason in _EXPERIMENTAL_REMARKS:
            if pattern.match(line):
                return reason
    return None


def _is_unit_cell(line: str) -> bool:
    try:
        return all(float(line[start : start + 9]) > _UNIT_CELL for start in (6, 15, 24))
    except ValueError:
        return False


def _programs(texts: Sequence[tuple[str, str]]) -> tuple[str | None, str | None]:
    """Find what says pLDDT, and what says another score: at most one of the two."""
    for place, text in texts:
        if _STATEMENT.search(text.upper()):
            return f"{place} says that B-factors are pLDDT", None
    for place, text in texts:
        if match := _PROGRAMS.search(text.upper()):
            source = f"{place} names {match.group()}"
            return (source, None) if match["predictor"] else (None, source)
    return None, None


_NAMING_ITEMS = (
    "_struct.title", "_entry.id", "_software.name", "_software.description",
    "_database_2.database_id", "_ma_model_list.model_name", "_ma_model_list.model_group_name",
    "_ma_data.name",
)  # fmt: skip
_EXPERIMENTAL_CATEGORIES = (
    "_refine.", "_reflns.", "_diffrn.", "_em_3d_reconstruction.", "_pdbx_nmr_ensemble.",
)  # fmt: skip


def cif_evidence(items: Mapping[str, Sequence[str]]) -> Evidence:
    """Read what the categories of an mmCIF file say.

    Args:
        items: values by item, names in lower case, as of `structure_cif.cif_items`.
    """
    names = [(key, value) for key in _NAMING_ITEMS for value in items.get(key, ())]
    metrics = list(_local_metrics(items))
    plddt = next((text for text in metrics if "PLDDT" in text.upper()), None)
    if plddt is not None:
        predictor, other = f"_ma_qa_metric is {plddt}", None
    elif metrics:
        predictor, other = None, f"_ma_qa_metric is {metrics[0]}"
    else:
        predictor, other = _programs(names)
    return Evidence(_cif_experiment(items), predictor, other)


def _local_metrics(items: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Yield the names of the quality metrics that have a value for each residue (ModelCIF)."""
    modes = items.get("_ma_qa_metric.mode", ())
    for number, mode in enumerate(modes):
        values = [
            items[f"_ma_qa_metric.{key}"][number]
            for key in ("name", "type")
            if f"_ma_qa_metric.{key}" in items
        ]
        if mode == "local":
            yield " ".join(dict.fromkeys(values))


def _cif_experiment(items: Mapping[str, Sequence[str]]) -> str | None:
    for method in items.get("_exptl.method", ()):
        if _EXPERIMENTS.search(method.upper()):
            return f"_exptl.method {method}"
    for key, values in items.items():
        if key.startswith(_EXPERIMENTAL_CATEGORIES) and not key.endswith((".entry_id", ".id")):
            value_given = next((value for value in values if value not in ("?", ".", "")), None)
            if value_given is not None:
                return f"{key.partition('.')[0]} is filled"
    return "_atom_site_anisotrop is filled" if "_atom_site_anisotrop.id" in items else None
