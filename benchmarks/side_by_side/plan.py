"""What is trained and sampled: teachers of every process, their students, how each is drawn.

A job is called CORPUS/train.MODEL.SEED, CORPUS/bound.MODEL.SEED or CORPUS/sweep.CELL.STEPS.SEED;
one more, CORPUS/natural.sequences.0, judges the corpus itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

RESULTS = Path(__file__).parents[1] / "results" / "side_by_side"
RUNS = Path("runs") / "side_by_side"
"""Weights and sets, relative to where the study is run; not committed."""

STEPS = (8, 16, 32)
TEMPERATURES = (0.9, 1.0, 1.1)
LOWER = (0.8, 0.7)
"""Tried one after the other while a curve begins above the diversity at which all are compared."""
HIGHER = (1.2, 1.3, 1.4)
"""And these while it ends below."""
NUM_SAMPLES = 256
SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Model:
    """A teacher, or a student of one."""

    overrides: tuple[str, ...]
    """What `pretrain` or `distill` is told beside what all of its kind are."""
    teacher: str | None = None


MODELS: Mapping[str, Model] = {
    "mdlm": Model(("process=absorbing",)),
    "duo": Model(("process=uniform",)),
    "duo-gaussian": Model(("process=uniform", "gaussian.steps={half}", "curriculum.steps=0")),
    "sedd": Model(("process=sedd",)),
    "ar": Model(("model.kind=autoregressive", "curriculum.steps=0")),
    "dmmd": Model(("method=dmmd",), "mdlm"),
    "didi": Model(("method=didi",), "mdlm"),
    "sdtt": Model(("method=sdtt",), "mdlm"),
    "dcd": Model(("method=dcd",), "duo"),
    "dmmd-uniform": Model(("method=dmmd-uniform",), "duo"),
}
"""{half} is half of a teacher's updates."""


@dataclass(frozen=True)
class Cell:
    """A model as it is drawn."""

    model: str
    sampler: str = "ancestral"


CELLS: Mapping[str, Cell] = {
    "mdlm": Cell("mdlm"),
    "mdlm apart": Cell("mdlm", "apart"),
    "mdlm remdm": Cell("mdlm", "remdm"),
    "duo": Cell("duo"),
    "duo greedy-tail": Cell("duo", "greedy-tail"),
    "duo psi": Cell("duo", "psi"),
    "sedd": Cell("sedd", "analytic"),
    "ar": Cell("ar", "autoregressive"),
    "dmmd": Cell("dmmd"),
    "dmmd apart": Cell("dmmd", "apart"),
    "didi": Cell("didi"),
    "sdtt": Cell("sdtt"),
    "dcd": Cell("dcd"),
    "dcd greedy-tail": Cell("dcd", "greedy-tail"),
    "dmmd-uniform": Cell("dmmd-uniform"),
}
BASELINE = "mdlm"
"""The others are compared with it, at its steps and at equal diversity."""


@dataclass(frozen=True)
class Job:
    """One piece of work with a result of its own."""

    corpus: str
    seed: int
    kind: str
    """train, bound, sweep or natural."""
    name: str
    """A model; of a sweep a cell; of the corpus itself `sequences`."""
    steps: int = 0

    @property
    def key(self) -> str:
        steps = f".{self.steps}" if self.steps else ""
        return f"{self.corpus}/{self.kind}.{self.name.replace(' ', '-')}{steps}.{self.seed}"

    @property
    def result(self) -> Path:
        return RESULTS / f"{self.key}.json"

    def folder(self, model: str) -> Path:
        """Of a model of this corpus and seed."""
        return RUNS / self.corpus / f"{model}_{self.seed}"


def jobs_of(corpus: str, seed: int, cells: Sequence[str] = tuple(CELLS)) -> list[Job]:
    """Each finds what it needs; last, of all cells, the teachers of which only the bound is asked.

    Args:
        cells: what is sampled; models that none of them needs are left out.
    """
    drawn = {CELLS[name].model for name in cells}
    drawn |= {teacher for name in drawn if (teacher := MODELS[name].teacher)}
    last = [] if len(cells) < len(CELLS) else [name for name in MODELS if name not in drawn]
    jobs = [] if seed else [Job(corpus, seed, "natural", "sequences")]
    jobs += [job for name in MODELS if name in drawn for job in _training(corpus, seed, name)]
    jobs += [Job(corpus, seed, "sweep", cell, steps) for steps in STEPS for cell in cells]
    return jobs + [job for name in last for job in _training(corpus, seed, name)]


def _training(corpus: str, seed: int, name: str) -> list[Job]:
    kinds = ("train", "bound") if MODELS[name].teacher is None else ("train",)
    return [Job(corpus, seed, kind, name) for kind in kinds]
