"""TM-score [1]_ of two chains by TM-align, the same in either order.

The score of a pair is the mean of TM-align's two, one normalised by each length; at equal lengths
the two agree. TM-align's search depends slightly on which chain comes first: a pair is always
aligned in one order, so that the score is symmetric.

.. [1] Zhang, Skolnick. "Scoring function for automated assessment of protein structure template
   quality", Proteins 57, 2004; TM-align: Nucleic Acids Research 33, 2005.
"""

from dataclasses import dataclass
from importlib.metadata import version as package_version

from jaxtyping import Float
from numpy import ndarray

from didi_core.errors import missing_extra

MIN_RESIDUES = 3
"""Fewest that TM-align takes."""


@dataclass(frozen=True)
class Trace:
    """The C-alpha atoms of a chain."""

    coordinates: Float[ndarray, "residues 3"]
    """Ångström."""
    sequence: str

    def __len__(self) -> int:
        return len(self.sequence)


def is_available() -> bool:
    """Whether the package that brings TM-align is installed."""
    try:
        import tmtools  # noqa: F401
    except ImportError:
        return False
    return True


def version() -> str:
    """Of the package that brings TM-align."""
    return package_version("tmtools")


def tm_score(one: Trace, other: Trace) -> float:
    """TM-score of a pair, 0 to 1; `tm_score(a, b) == tm_score(b, a)` exactly.

    Raises:
        ValueError: a chain is shorter than `MIN_RESIDUES`.
        UserError: tmtools is not installed.
    """
    try:
        import tmtools
    except ImportError as error:
        raise missing_extra("tmtools", "metrics") from error
    if min(len(one), len(other)) < MIN_RESIDUES:
        raise ValueError(f"TM-align needs {MIN_RESIDUES} residues or more")
    first, second = sorted((one, other), key=_order)
    found = tmtools.tm_align(first.coordinates, second.coordinates, first.sequence, second.sequence)
    return (found.tm_norm_chain1 + found.tm_norm_chain2) / 2


def _order(trace: Trace) -> tuple[int, str, bytes]:
    """TM-align's search depends, slightly, on which chain comes first."""
    return len(trace), trace.sequence, trace.coordinates.tobytes()
