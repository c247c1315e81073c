"""DPLM's output: FASTA files named `iter_500_L_100.fasta`, 500 being steps and 100 residues."""

import os
import re
from pathlib import Path

_NAME = re.compile(r"iter_(\d+)_L_(\d+)")


def header_of_name(path: str | os.PathLike[str]) -> dict[str, str]:
    """What the name of a file says of its records, as pairs of a FASTA header; {} for other names.

    The length is not among them: that of each record is counted.

    >>> header_of_name("run/iter_500_L_100.fasta.gz")
    {'steps': '500'}
    """
    name = Path(path).name.removesuffix(".gz")
    found = _NAME.fullmatch(Path(name).stem)
    return {"steps": found[1]} if found else {}
