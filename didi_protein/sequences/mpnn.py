"""FASTA files of ProteinMPNN and LigandMPNN: what their headers say, and their chains.

ProteinMPNN writes, below the sequence it was given, one record a sample, chains joined by `/`:

    >3HTN, score=1.44, global_score=1.49, fixed_chains=['C'], designed_chains=['A', 'B'], ...
    >T=0.1, sample=1, score=0.8450, global_score=1.0949, seq_recovery=0.5071

LigandMPNN names each record, and joins chains by `:` unless it was told otherwise:

    >4GYT, T=0.1, seed=111, num_res=177, num_ligand_res=11, ..., model_path=ligandmpnn.pt
    >4GYT, id=1, T=0.1, seed=111, overall_confidence=0.4349, ligand_confidence=0.43, seq_rec=0.4576
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePath

NATIVE_KEY = "native"
"""Of the pair that marks the sequence a program was given: no design."""
CHAIN_KEY = "chain"
"""Of the pair that says which chain of the record a sequence is."""
_RUN_KEYS = {"model_name": "model", "model_path": "model", "seed": "seed"}
"""What the record of the input says of the whole run, and what a sample's own header calls it."""

_SAMPLE = re.compile(r"T=[^,\s]+, *sample=(\d+)(?:,|$)")
_INPUT = re.compile(r"(?P<name>[^,=]+), *score=[^,]*,.*\bdesigned_chains=\[")
_LIGAND_SAMPLE = re.compile(r"(?P<name>[^,=]+), *id=(?P<number>\d+), *T=")
_LIGAND_INPUT = re.compile(r"(?P<name>[^,=]+), *T=[^,]*,.*\bnum_res=\d+,")
_PAIR = re.compile(r"(?:^|, *)([A-Za-z_]\w*)=(\[[^\]]*\]|[^,]*)")
_SEPARATORS = re.compile(r"[/:]")


@dataclass(frozen=True)
class MpnnRecord:
    """One chain of a record."""

    id: str
    sequence: str
    header: dict[str, str] = field(default_factory=dict)


def is_mpnn_title(title: str) -> bool:
    """Tell whether a header line, without its `>`, is one that these programs write."""
    if ", " not in title or "=" not in title:  # quick, for files of millions
        return False
    return any(each.match(title) for each in (_SAMPLE, _INPUT, _LIGAND_SAMPLE, _LIGAND_INPUT))


def mpnn_records(
    records: Iterable[tuple[str, str]], file_name: str
) -> Iterator[MpnnRecord | tuple[str, str]]:
    """Yield a record for each chain of what these programs wrote; other records as they are.

    The id is the name that LigandMPNN writes, or that of the input above ProteinMPNN's samples, or
    else of the file; then the number of the sample, and the chain where there are several: its
    letter where the input says which were designed, else `chain` and its place from 1. Samples
    have the model and the seed that the record of the input states for all of them.

    Args:
        records: title and sequence of each.
        file_name: where they stand.
    """
    name = PurePath(PurePath(file_name).name.removesuffix(".gz")).stem
    letters: list[str] = []
    of_run: dict[str, str] = {}
    for title, sequence in records:
        if not is_mpnn_title(title):
            yield title, sequence
            continue
        sample, ligand = _SAMPLE.match(title), _LIGAND_SAMPLE.match(title)
        header = pairs_of(title)
        if sample is not None:
            stem, header = f"{name}_{sample[1]}", of_run | header
        elif ligand is not None:
            stem, letters = f"{ligand['name'].strip()}_{ligand['number']}", []
            header = of_run | header
        else:
            stem = name = title.partition(",")[0].strip()
            of_run = {ours: header[key] for key, ours in _RUN_KEYS.items() if key in header}
            letters = re.findall(r"'([^']*)'", header.get("designed_chains", ""))
            header[NATIVE_KEY] = "True"
        yield from _chains(stem, sequence, header, letters)


def _chains(
    stem: str, sequence: str, header: dict[str, str], letters: list[str]
) -> Iterator[MpnnRecord]:
    parts = _SEPARATORS.split(sequence)
    if len(parts) == 1:
        yield MpnnRecord(stem, sequence, header)
        return
    names = letters if len(letters) == len(parts) else [str(n) for n in range(1, len(parts) + 1)]
    for name, part in zip(names, parts, strict=True):
        suffix = f"chain{name}" if name.isdecimal() else name
        yield MpnnRecord(f"{stem}_{suffix}", part, {**header, CHAIN_KEY: name})


def pairs_of(title: str) -> dict[str, str]:
    """Return the `key=value` pairs of a header with commas; a list in brackets is one value.

    >>> pairs_of("6MRR, score=1.53, fixed_chains=[], designed_chains=['A', 'B'], seed=37")
    {'score': '1.53', 'fixed_chains': '[]', 'designed_chains': "['A', 'B']", 'seed': '37'}
    """
    first, path, rest = title.partition(", model_path=")
    pairs = {key: value.strip() for key, value in _PAIR.findall(first)}
    return pairs | ({"model_path": rest} if path else {})
