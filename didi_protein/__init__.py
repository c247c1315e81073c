"""DiDi for proteins: train or load a teacher, distil it, design, score, report.

    import didi_protein

    student = didi_protein.load("tiny-student")
    designs = student.sample(10, length="70-82", steps=8, seed=0)
    table = didi_protein.score_sequences(designs)

What is listed in `__all__` is imported when it is first asked for, so that `import didi_protein`
and the command line start at once; `score`, `distill` and the other verbs are modules.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from didi_core.errors import UserError as UserError
    from didi_protein.api import ProteinModel as ProteinModel
    from didi_protein.api import distill_model as distill_model
    from didi_protein.api import load as load
    from didi_protein.api import score_sequences as score_sequences
    from didi_protein.sequences.fasta import ProteinRecord as ProteinRecord
    from didi_protein.sequences.fasta import write_fasta as write_fasta

__all__ = [
    "ProteinModel",
    "ProteinRecord",
    "UserError",
    "distill_model",
    "load",
    "score_sequences",
    "write_fasta",
]


_HOMES = {
    "ProteinRecord": "didi_protein.sequences.fasta",
    "UserError": "didi_core.errors",
    "write_fasta": "didi_protein.sequences.fasta",
}
"""Modules of names that are not of `didi_protein.api`."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, "didi_protein.api")), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
