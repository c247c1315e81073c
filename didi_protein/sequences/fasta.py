"""Records in and out: FASTA, and what other programs' files say as such records.

FASTA is read plain, gzipped, from standard input or a folder; so are structure files, the output
folders of structure predictors, FASTA of ProteinMPNN and LigandMPNN, and any table.

The first word of a header is the id; `key=value` words after it say where a design comes from:
`>design_000017 length=143 model=tiny-student sampler=ancestral steps=8 nfe=8 seed=3`. What is no
single word is written as RFC 8187 does it, `key*=round%202`, and read back as it was.
"""

import itertools
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, unquote

from Bio.SeqIO.FastaIO import SimpleFastaParser

from didi_core.errors import UserError, as_written
from didi_core.io.files import shown
from didi_core.io.text_files import damage_explained, open_text, text_writer
from didi_protein.sequences.bundled import is_bundled, sequences_named
from didi_protein.sequences.design_ids import SharedIds, shared_ids
from didi_protein.sequences.mpnn import MpnnRecord, mpnn_records
from didi_protein.sequences.tables import (
    SURE_SUFFIXES,
    TABLE_SUFFIXES,
    ColumnNames,
    is_table,
    read_table,
    refuse_scores,
    refuse_workbook,
)
from didi_protein.structures.predictions import (
    DesignPrediction,
    PredictedModel,
    Predictions,
    find_predictions,
)
from didi_protein.structures.read import (
    STRUCTURE_SUFFIXES,
    escaped,
    name_of_file,
    read_prediction,
    read_structure,
)

FASTA_SUFFIXES = (".fasta", ".fa", ".faa", ".fas", ".fsa")


MPNN_FOLDER = "seqs"
"""Where ProteinMPNN and LigandMPNN put FASTA below the folder that they are told to write to."""
INPUT = "INPUT"
"""What messages call what `score` and `scan` are given."""
NAME_KEY = "name"
"""Of the pair that keeps an id which is no single word."""


_ENDS_A_WORD = re.compile(r"[\s\x00\ud800-\udfff]")


@dataclass(frozen=True)
class ProteinRecord:
    """One sequence and what its header says."""

    id: str
    """Unique among the records read together."""
    sequence: str
    """As written in the file: not yet checked or cleaned."""
    header: dict[str, str] = field(default_factory=dict)
    """The `key=value` words of the header, in order."""
    columns: dict[str, Any] = field(default_factory=dict)
    """Values of the table of scores that a structure file states itself, such as its pLDDT."""
    problem: str | None = None
    """Why there is no sequence: the structure file that it would come from cannot be read."""

    def as_fasta(self) -> str:
        return f"{self.title}\n{self.sequence}\n"

    @property
    def title(self) -> str:
        """The header line, `>` included."""
        assert is_one_word(self.id), self.id
        pairs = ("=".join(_written(key, value)) for key, value in self.header.items())
        return " ".join([f">{self.id}", *pairs])


def parse_header(title: str) -> tuple[str, dict[str, str]]:
    """Split a header line without its `>` into id and `key=value` pairs; a repeated key is `key#2`.

    >>> parse_header("design_1 length=143 steps=8 note*=round%202")
    ('design_1', {'length': '143', 'steps': '8', 'note': 'round 2'})
    """
    first, *words = title.split() or [""]
    split = (word.partition("=") for word in words)
    pairs = [_decoded(key, value) or (key, value) for key, equals, value in split if key and equals]
    keys = numbered([key for key, _ in pairs], [True] * len(pairs))
    return first, dict(zip(keys, (value for _, value in pairs), strict=True))


def is_one_word(text: str) -> bool:
    """Tell whether a text can be an id: not empty, no blanks, line breaks or broken letters."""
    return bool(text) and not _ENDS_A_WORD.search(text)


def _written(key: str, value: str) -> tuple[str, str]:
    """Write a pair as two header words: encoded only if it would not be read back as it is."""
    return (key, value) if _is_plain(key, value) else (_encoded(key) + "*", _encoded(value))


def _is_plain(key: str, value: str) -> bool:
    whole = key and "=" not in key and not _ENDS_A_WORD.search(key + value)
    return bool(whole) and _decoded(key, value) is None


def _encoded(text: str) -> str:
    signs = re.sub(r"[%=]|\s|\x00", lambda match: quote(match[0], safe=""), text)
    return signs.encode("utf-8", "backslashreplace").decode()


def _decoded(key: str, value: str) -> tuple[str, str] | None:
    """Return the pair that `_written` wrote so; None where the words stand for themselves."""
    if not key.endswith("*"):
        return None
    pair = unquote(key[:-1]), unquote(value)
    return pair if _written(*pair) == (key, value) else None


def iterate_fasta(path: str | os.PathLike[str], name: str = "INPUT") -> Iterator[tuple[str, str]]:
    """Stream title and sequence of each record. `-` is standard input; `.gz` is seen by itself.

    Args:
        name: how messages call the file: the flag or argument it came from.

    Raises:
        UserError: the file is missing, unreadable, empty, binary, damaged or no FASTA.
    """
    with open_text(path, name) as stream, damage_explained(as_written(name, path)):
        first = next((line for line in stream if line.strip()), "")
        if not first:
            raise UserError(
                f"{as_written(name, path)} is empty: a FASTA file with a record or more is needed."
            )
        if not first.startswith(">"):
            start = first.strip()[:40]
            raise UserError(
                f"{as_written(name, path)} is no FASTA file: it begins with {start!r}, not '>'; "
                + (
                    "if it is a table, name its column with --sequence-column NAME."
                    if is_table(path)
                    else "give sequences with a line >ID before each."
                )
            )
        yield from SimpleFastaParser(itertools.chain([first], stream))


@dataclass(frozen=True)
class Reading:
    """What is asked of inputs beside their names."""

    columns: ColumnNames | None = None
    """Of tables; None where no input is to be read as one."""
    all_models: bool = False
    """Of output folders of predictors: every model of a design, not the best alone."""
    keep_unreadable: bool = False
    """A structure that is there and cannot be read becomes a record with a `problem`, so that it
    does not take the others with it."""


def read_records(
    inputs: Iterable[str | os.PathLike[str]],
    name: str = "INPUT",
    *,
    keep_unreadable: bool = False,
    reading: Reading | None = None,
    on_shared: Callable[[SharedIds], object] | None = None,
) -> list[ProteinRecord]:
    """Read all records of FASTA, PDB and mmCIF files, of tables and of folders, ids made unique.

    A record whose id was already taken, by an earlier record or in another file, becomes `id#2`,
    `id#3`; one without an id is called `unnamed`. An id that is no single word, of a file whose
    name has blanks, becomes one, and stands in the header under `name`.

    Args:
        keep_unreadable: as in `Reading`, where that is not given.
        on_shared: called with the ids that inputs share, where they do.

    Raises:
        UserError: an input cannot be read, a folder holds no sequence file, or columns are named
            and no input is a table.
    """
    reading = reading or Reading(keep_unreadable=keep_unreadable)
    places = list(_places(inputs, name))
    if reading.columns is not None:
        _check_tables(places, name, reading.columns)
    by_place = [(place, list(_read_place(place, name, reading))) for place in places]
    if on_shared is not None:
        named = ((place, [r.id for r in own if r.id.strip()]) for place, own in by_place)
        if shared := shared_ids(named):
            on_shared(shared)
    parsed = [item for _, own in by_place for item in own]
    ids = unique_ids([record.id for record in parsed])
    return [under_id(unique, record) for unique, record in zip(ids, parsed, strict=True)]


def _check_tables(
    places: Sequence[str | os.PathLike[str]], name: str, columns: ColumnNames
) -> None:
    """Raise UserError where columns are named and nothing is a table, so that they mean nothing."""
    inside = [path for place in places if _is_folder(place) for path in Path(place).iterdir()]
    if not any(map(is_table, (*places, *inside))):
        raise UserError(
            f"--sequence-column {columns.sequence}: no {name} is a table "
            f"({', '.join(TABLE_SUFFIXES)}, or with .gz); leave it out, or give one."
        )


def under_id(unique: str, record: ProteinRecord) -> ProteinRecord:
    """Return a record under another id; its own, where that is no single word, in the header."""
    if not record.id.strip() or is_one_word(record.id):
        return replace(record, id=unique)
    key = NAME_KEY if NAME_KEY not in record.header else f"{NAME_KEY}#2"
    return replace(record, id=unique, header={**record.header, key: record.id})


def _read_place(
    place: str | os.PathLike[str], name: str, reading: Reading
) -> Iterator[ProteinRecord]:
    if not _is_folder(place):
        yield from _read_one(place, name, reading)
        return
    found = find_predictions(Path(place))
    for design in found.designs:
        yield from _read_design(design, name, reading)
    for path in _files_of_folder(place, name, reading, found):
        yield from _read_one(path, name, reading)


def _read_one(path: str | os.PathLike[str], name: str, reading: Reading) -> Iterator[ProteinRecord]:
    if is_structure_file(path):
        try:
            for chain in read_structure(path, name):
                yield ProteinRecord(chain.name, chain.sequence, columns=chain.columns)
        except UserError as error:
            if not reading.keep_unreadable or not os.path.lexists(path):
                raise
            yield ProteinRecord(name_of_file(path), "", problem=escaped(str(error)))
        return
    refuse_workbook(path, name)
    if reading.columns is not None and is_table(path):
        for row in read_table(path, reading.columns, name):
            yield ProteinRecord(row.id, row.sequence, row.header)
        return
    if name == INPUT:
        refuse_scores(path, name)
    said_by_name = header_of_name(path)
    aligned = is_bundled(path)
    for record in fasta_records(path, name):
        sequence = record.sequence.replace("-", "") if aligned else record.sequence
        yield replace(record, sequence=sequence, header=said_by_name | record.header)


def fasta_records(path: str | os.PathLike[str], name: str) -> Iterator[ProteinRecord]:
    """Stream the records of a FASTA file; what ProteinMPNN wrote has one for each chain."""
    for item in mpnn_records(iterate_fasta(path, name), str(path)):
        if isinstance(item, MpnnRecord):
            yield ProteinRecord(item.id, item.sequence, item.header)
        else:
            record_id, header = parse_header(item[0])
            yield ProteinRecord(record_id, item[1], header)


def _read_design(design: DesignPrediction, name: str, reading: Reading) -> Iterator[ProteinRecord]:
    """Yield the chains of the best model of a design, or of all its models."""
    try:
        models = design.samples() if reading.all_models else [design.best()]
    except UserError as error:
        if not reading.keep_unreadable:
            raise
        problem = f"{error} Which of its {len(design.samples())} models is best cannot be told."
        yield ProteinRecord(design.name, "", problem=escaped(problem))
        return
    for model in models:
        stem = f"{design.name}_{model.name}" if reading.all_models else design.name
        yield from _read_model(model, stem, name, reading)


def _read_model(
    model: PredictedModel, stem: str, name: str, reading: Reading
) -> Iterator[ProteinRecord]:
    try:
        for chain in read_prediction(model, name, escaped(stem)):
            yield ProteinRecord(chain.name, chain.sequence, columns=chain.columns)
    except UserError as error:
        if not reading.keep_unreadable:
            raise
        yield ProteinRecord(escaped(stem), "", problem=escaped(str(error)))


def _places(
    inputs: Iterable[str | os.PathLike[str]], name: str
) -> Iterator[str | os.PathLike[str]]:
    """Yield inputs, bundled names replaced by their files.

    Raises:
        UserError: a path of the user's has a bundled name, or standard input is given twice.
    """
    inputs = list(inputs)
    if sum(str(place) == "-" for place in inputs) > 1:
        raise UserError(f"{name} -: standard input is given twice; it can be read once.")
    for place in inputs:
        bundled = sequences_named(place, name)
        yield from bundled or (place,)


def _is_folder(place: str | os.PathLike[str]) -> bool:
    return str(place) != "-" and Path(place).is_dir()


def expand_inputs(
    inputs: Iterable[str | os.PathLike[str]], name: str
) -> Iterator[str | os.PathLike[str]]:
    """Replace bundled names and folders by their sequence files, sorted, hidden ones left out.

    Raises:
        UserError: a folder holds no sequence file, a path of the user's has a bundled name, or
            standard input is given twice.
    """
    for place in _places(inputs, name):
        if _is_folder(place):
            yield from _files_of_folder(place, name, Reading(), Predictions())
        else:
            yield place


def _files_of_folder(
    place: str | os.PathLike[str], name: str, reading: Reading, found: Predictions
) -> list[Path]:
    """Return the sequence files of a folder that are not `found` as predictions already."""
    tables = () if reading.columns is None else SURE_SUFFIXES
    known = (*FASTA_SUFFIXES, *STRUCTURE_SUFFIXES, *tables)
    folder = Path(place)
    files = [path for path in shown(folder.iterdir()) if _bare_suffix(path) in known]
    if not files and (own := folder / MPNN_FOLDER).is_dir():
        files = [path for path in shown(own.iterdir()) if _bare_suffix(path) in FASTA_SUFFIXES]
    if not files and not found.designs:
        packed = next((path.name for path in shown(Path(place).glob("*.zip"))), None)
        raise UserError(
            f"{as_written(name, place)} holds no sequence file ({', '.join(known)}, or with .gz) "
            "and no output of ColabFold, Boltz, Chai or AlphaFold 3"
            + (f": unpack {packed} first." if packed else ".")
        )
    return [path for path in files if path not in found.files]


def is_structure_file(path: str | os.PathLike[str]) -> bool:
    """Return whether a file is called like a PDB or mmCIF file, packed or not."""
    return _bare_suffix(path) in STRUCTURE_SUFFIXES


def _bare_suffix(path: str | os.PathLike[str]) -> str:
    name = Path(path).name.lower().removesuffix(".gz")
    return Path(name).suffix


def unique_ids(ids: Sequence[str]) -> list[str]:
    """Make one word of each id, repeats numbered from `#2`; never a name the input itself uses.

    >>> unique_ids(["a b", "a", "a", "", "a#2", "a", "a_b"])
    ['a_b#2', 'a', 'a#3', 'unnamed', 'a#2', 'a#4', 'a_b']
    """
    words = ["_".join(_ENDS_A_WORD.sub(" ", each).split()) or "unnamed" for each in ids]
    return numbered(words, [word == each for word, each in zip(words, ids, strict=True)])


def numbered(names: Sequence[str], are_own: Sequence[bool]) -> list[str]:
    """Number repeated names; a made one leaves way to an own one that comes later."""
    taken, number = set(names), Counter[str]()
    own = {name for name, is_own in zip(names, are_own, strict=True) if is_own}
    seen: set[str] = set()
    result = []
    for name, is_own in zip(names, are_own, strict=True):
        unique = name
        if name in seen or (name in own and not is_own):
            unique = _next_free(name, taken, number)
        seen.add(unique)
        taken.add(unique)
        result.append(unique)
    return result


def _next_free(name: str, taken: set[str], number: Counter[str]) -> str:
    number[name] = max(number[name], 1) + 1
    while (candidate := f"{name}#{number[name]}") in taken:
        number[name] += 1
    return candidate


@contextmanager
def fasta_writer(path: str | os.PathLike[str]) -> Iterator[IO[str]]:
    """Open a FASTA to write: `-` is standard output, `.gz` is compressed, files appear whole."""
    if str(path) == "-":
        yield sys.stdout
        return
    with text_writer(path) as stream:
        yield stream


def write_fasta(path: str | os.PathLike[str], records: Iterable[ProteinRecord]) -> None:
    """Write records, each sequence on one line."""
    with fasta_writer(path) as stream:
        stream.writelines(record.as_fasta() for record in records)


# DPLM's output: FASTA files named `iter_500_L_100.fasta`, 500 being steps and 100 residues.

_NAME = re.compile(r"iter_(\d+)_L_(\d+)")


def header_of_name(path: str | os.PathLike[str]) -> dict[str, str]:
    """Read what a file's name says of its records, as pairs of a FASTA header; {} for other names.

    The length is not among them: that of each record is counted.

    >>> header_of_name("run/iter_500_L_100.fasta.gz")
    {'steps': '500'}
    """
    name = Path(path).name.removesuffix(".gz")
    match = _NAME.fullmatch(Path(name).stem)
    return {"steps": match[1]} if match else {}
