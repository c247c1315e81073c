"""Output folders of ColabFold, Boltz, Chai and AlphaFold 3: which file is which model of what.

    found = find_predictions(Path("boltz_results_designs"))
    [(design.name, design.best().structure) for design in found.designs]

The layouts are those that the programs' own code writes; `docs/other-programs.md` lists them. What
the files say of confidence is read in `didi_protein.structures.confidences`.
"""

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from didi_protein.structures.confidences import Confidences, Tool, read_confidences

Role = Literal["sample", "copy", "spare"]


@dataclass(frozen=True)
class PredictedModel:
    """One structure that a program predicted, and the files that stand beside it."""

    tool: Tool
    job: Path
    """Folder of the design's files: models of one job and one design are ranked together."""
    design: str
    """What the program called the design."""
    name: str
    """Which of the design's models it is: `rank_001`, `model_0`, `seed-1_sample-0`."""
    number: tuple[int, ...]
    """Its place among them, by the numbers in its name."""
    structure: Path
    scores: Path
    """What holds pTM, and the score that ranks models: always written."""
    pae: Path
    """What holds the PAE; not every run writes it."""
    role: Role = "sample"
    """`copy`: the program's own copy of its best sample; `spare`: an unrelaxed model of which there
    is a relaxed one, or a state on the way."""

    def confidences(self, with_pae: bool = True) -> Confidences:
        """Read what the files beside the structure say.

        Raises:
            UserError: the file of scores is missing, or one of them cannot be read.
        """
        return read_confidences(self.tool, self.scores, self.pae if with_pae else None)


@dataclass(frozen=True)
class DesignPrediction:
    """All models of one design, in the order of their names."""

    models: tuple[PredictedModel, ...]

    @property
    def name(self) -> str:
        return self.models[0].design

    def samples(self) -> list[PredictedModel]:
        """Return every model that was drawn; where only the copy of the best is left, that."""
        samples = [model for model in self.models if model.role == "sample"]
        return samples or [model for model in self.models if model.role == "copy"][:1]

    def best(self) -> PredictedModel:
        """Return the model that the program itself ranks first.

        ColabFold and Boltz number models by rank; AlphaFold 3 copies the best one to the top;
        else the highest score counts, and the first where two are equal.

        Raises:
            UserError: the scores that rank the models cannot be read.
        """
        samples = self.samples()
        copies = [model for model in self.models if model.role == "copy"]
        if copies or len(samples) == 1 or samples[0].tool in ("colabfold", "boltz"):
            return (copies or samples)[0]
        scores = [model.confidences(with_pae=False).ranking_score for model in samples]
        ranked = [-float("inf") if score is None else score for score in scores]
        return samples[ranked.index(max(ranked))]


@dataclass(frozen=True)
class Predictions:
    """What a folder holds."""

    designs: tuple[DesignPrediction, ...] = ()
    files: frozenset[Path] = field(default_factory=frozenset)
    """Every structure file that belongs to one of the designs."""


def find_predictions(folder: Path) -> Predictions:
    """Search a folder and all below it, hidden ones left out, for what the programs wrote."""
    found = [model for path in _structures_below(folder) if (model := recognise(path))]
    groups: dict[tuple[Path, str], list[PredictedModel]] = {}
    for model in found:
        groups.setdefault((model.job, model.design), []).append(model)
    designs = (DesignPrediction(tuple(_in_order(each))) for each in groups.values())
    return Predictions(
        tuple(each for each in designs if each.samples()),
        frozenset(model.structure for model in found),
    )


def _structures_below(folder: Path) -> Iterable[Path]:
    """Yield structure files in the order of their paths; links are followed, once each."""
    seen: set[str] = set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(parent)) in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.endswith((".pdb", ".cif")) and not name.startswith("."):
                yield Path(parent) / name


def _in_order(models: list[PredictedModel]) -> list[PredictedModel]:
    """Sort by number; of a relaxed and an unrelaxed model of one number the relaxed one counts."""
    ordered = sorted(models, key=lambda each: (each.number, each.structure))
    relaxed = {model.number for model in ordered if _is(model, "relaxed")}
    return [
        replace(model, role="spare")
        if model.number in relaxed and _is(model, "unrelaxed")
        else model
        for model in ordered
    ]


def _is(model: PredictedModel, state: str) -> bool:
    """Tell whether the name of ColabFold's model says so, behind that of its design."""
    return model.structure.name.removeprefix(model.design).startswith(f"_{state}_")


def recognise(path: Path) -> PredictedModel | None:
    """Return what a structure file is, by its name and what stands beside it; None for others."""
    return next((model for read in _LAYOUTS if (model := read(path)) is not None), None)


# ColabFold: NAME_unrelaxed_rank_001_M.pdb and NAME_scores_rank_001_M.json; in earlier versions
# NAME_unrelaxed_rank_1_M.pdb and NAME_unrelaxed_rank_1_M_scores.json. With --save-recycles also
# NAME_unrelaxed_rank_001_M.r0.pdb. A model whose name has no rank is compared with no other.

_COLABFOLD = re.compile(r"(?P<design>.+)_(?:un)?relaxed_(?P<model>.+)")
_RANK = re.compile(r"(?:.*_)?rank_(\d+)(?:_.*|\..*)?")
_RECYCLE = re.compile(r"\.r\d+$")


def _colabfold(path: Path) -> PredictedModel | None:
    match = _COLABFOLD.fullmatch(path.stem)
    if match is None or path.suffix != ".pdb":
        return None
    design, model = match["design"], match["model"]
    names = [f"{design}_scores_{model}.json"]
    names += [f"{design}_unrelaxed_{model}_scores.json", f"{path.stem}_scores.json"]
    beside = [path.with_name(name) for name in names]
    scores = next((each for each in beside if each.is_file()), beside[0])
    ranked = _RANK.fullmatch(model)
    if ranked is None and not scores.is_file():
        return None
    return PredictedModel(
        tool="colabfold",
        job=path.parent,
        design=design if ranked else path.stem,
        name=f"rank_{int(ranked[1]):03d}" if ranked else model,
        number=(int(ranked[1]) if ranked else 0,),
        structure=path,
        scores=scores,
        pae=scores,
        role="spare" if _RECYCLE.search(path.stem) else "sample",
    )


# AlphaFold Server: fold_NAME_model_0.cif, fold_NAME_summary_confidences_0.json and
# fold_NAME_full_data_0.json.

_NUMBERED = re.compile(r"(?P<design>.+)_model_(?P<number>\d+)")


def _alphafold_server(path: Path) -> PredictedModel | None:
    match = _NUMBERED.fullmatch(path.stem)
    if match is None or path.suffix != ".cif" or not path.stem.startswith("fold_"):
        return None
    job, number = match["design"], match["number"]
    beside = [f"{job}_{name}_{number}.json" for name in ("summary_confidences", "full_data")]
    if not any(path.with_name(each).is_file() for each in (*beside, f"{job}_job_request.json")):
        return None
    scores, pae = map(path.with_name, beside)
    return PredictedModel(
        tool="alphafold3",
        job=path.parent,
        design=job.removeprefix("fold_"),
        name=f"model_{number}",
        number=(int(number),),
        structure=path,
        scores=scores,
        pae=pae,
    )


# Boltz: predictions/NAME/NAME_model_0.cif (or .pdb), confidence_NAME_model_0.json and
# pae_NAME_model_0.npz.


def _boltz(path: Path) -> PredictedModel | None:
    match = _NUMBERED.fullmatch(path.stem)
    if match is None or match["design"] != path.parent.resolve().name:
        return None
    design, number = match["design"], match["number"]
    is_below_predictions = path.parent.resolve().parent.name == "predictions"
    if not is_below_predictions and not any(path.parent.glob(f"confidence_{_literal(design)}_*")):
        return None
    return PredictedModel(
        tool="boltz",
        job=path.parent,
        design=design,
        name=f"model_{number}",
        number=(int(number),),
        structure=path,
        scores=path.with_name(f"confidence_{path.stem}.json"),
        pae=path.with_name(f"pae_{path.stem}.npz"),
    )


# Chai: pred.model_idx_0.cif and scores.model_idx_0.npz, of several trunks below trunk_0, trunk_1.
# The folder names the design. Chai writes no PAE.

_CHAI = re.compile(r"pred\.(?P<model>model_idx_(?P<number>\d+))")
_TRUNK = re.compile(r"trunk_(\d+)")


def _chai(path: Path) -> PredictedModel | None:
    match = _CHAI.fullmatch(path.stem)
    if match is None or path.suffix != ".cif":
        return None
    trunk = _TRUNK.fullmatch(path.parent.name)
    job = path.parent.parent if trunk else path.parent
    scores = path.with_name(f"scores.{match['model']}.npz")
    return PredictedModel(
        tool="chai",
        job=job,
        design=job.resolve().name,
        name=f"{trunk[0]}_{match['model']}" if trunk else match["model"],
        number=(int(trunk[1]) if trunk else 0, int(match["number"])),
        structure=path,
        scores=scores,
        pae=scores,
    )


# AlphaFold 3 run locally: NAME/NAME_model.cif, the best of
# NAME/seed-1_sample-0/NAME_seed-1_sample-0_model.cif (until version 3.0.0 model.cif), each with
# summary_confidences.json and confidences.json beside it, under the same prefix.

_SAMPLE = re.compile(r"seed-(\d+)_sample-(\d+)")


def _alphafold3(path: Path) -> PredictedModel | None:
    if path.suffix != ".cif" or not (path.stem == "model" or path.stem.endswith("_model")):
        return None
    prefix = path.stem.removesuffix("model")
    scores = path.with_name(f"{prefix}summary_confidences.json")
    sample = _SAMPLE.fullmatch(path.parent.name)
    job = path.parent.parent if sample else path.parent
    if not sample and not (scores.is_file() or any(_marks_of_job(job, prefix))):
        return None
    named = prefix.removesuffix("_").removesuffix(sample[0] if sample else "").removesuffix("_")
    return PredictedModel(
        tool="alphafold3",
        job=job,
        design=named or _name_of_job(job),
        name=sample[0] if sample else "best",
        number=(int(sample[1]), int(sample[2])) if sample else (-1, -1),
        structure=path,
        scores=scores,
        pae=path.with_name(f"{prefix}confidences.json"),
        role="sample" if sample else "copy",
    )


def _marks_of_job(job: Path, prefix: str) -> Iterable[Path]:
    for name in (f"{prefix}data.json", f"{prefix}ranking_scores.csv", "ranking_scores.csv"):
        if (job / name).is_file():
            yield job / name
    yield from job.glob("seed-*_sample-*")


def _name_of_job(job: Path) -> str:
    """Return the name that the files of a job have, where those of its samples have none."""
    named = sorted(job.glob("*_model.cif"))
    return named[0].name.removesuffix("_model.cif") if len(named) == 1 else job.resolve().name


def _literal(text: str) -> str:
    """Return a name as a glob pattern that fits itself alone."""
    return re.sub(r"([*?\[])", r"[\1]", text)


_LAYOUTS: tuple[Callable[[Path], PredictedModel | None], ...] = (
    _colabfold,
    _alphafold_server,
    _boltz,
    _chai,
    _alphafold3,
)
