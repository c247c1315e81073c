"""The program that holds models and designs against families: files in, one JSON out."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.families import main, read_families, split_designs
from didi_core.errors import UserError

pytest.importorskip("pyhmmer")

SHORT = "MKVLAAGIVGLCAKAYLEHWQ"
LONG = "GSHMRYDPTWEEFNIQVLNKRHCDPSAWYTFKED"


def relatives(sequence: str, count: int, seed: int) -> list[str]:
    """The sequence with each residue changed with a probability of 0.15."""
    generator = np.random.default_rng(seed)
    letters = np.array(list("ACDEFGHIKLMNPQRSTVWY"))
    changed = generator.random((count, len(sequence))) < 0.15
    drawn = generator.choice(letters, size=changed.shape)
    return ["".join(row) for row in np.where(changed, drawn, np.array(list(sequence)))]


def write_fasta(path: Path, sequences: list[str]) -> Path:
    text = "".join(f">s{place}\n{each}\n" for place, each in enumerate(sequences))
    path.write_bytes(gzip.compress(text.encode()))
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("families")
    for name, sequence in (("long", LONG), ("short", SHORT)):
        write_fasta(folder / f"{name}_train.aligned.fasta.gz", relatives(sequence, 60, 1))
        write_fasta(folder / f"{name}_valid.aligned.fasta.gz", relatives(sequence, 10, 2))
    table = "column_i\tcolumn_j\tdistance_angstrom\n1\t12\t5\n2\t21\t9\n"
    (folder / "short_contacts.tsv.gz").write_bytes(gzip.compress(table.encode()))
    return folder


def test_designs_go_to_the_family_of_most_bits_or_of_nearest_length(data: Path) -> None:
    families = read_families(data)
    assert [family.name for family in families] == ["long", "short"]
    unlike = ["G" * 20, "G" * 40]
    found = split_designs([SHORT, *unlike, LONG], families)
    assert found == {"long": ["G" * 40, LONG], "short": [SHORT, "G" * 20]}


def test_designs_and_a_model_become_one_json(data: Path, tmp_path: Path) -> None:
    designs = write_fasta(
        tmp_path / "designs.fasta.gz", relatives(SHORT, 12, 3) + relatives(LONG, 8, 4)
    )
    out = tmp_path / "families.json"
    settings = {"resamples": 5, "contact_resamples": 2, "num": 3, "temperature": 1.0, "seed": 0}
    main(data, out, models="tiny", designs=str(designs), steps="2", **settings)
    sets = json.loads(out.read_text())["sets"]
    assert sets[str(designs)]["short"]["designs"]["n"] == 12
    assert sets[str(designs)]["long"]["designs"]["n"] == 8
    assert sets[str(designs)]["short"]["held_out"]["n"] == 10
    assert sets[str(designs)]["short"]["designs"]["contact_precision"] is not None
    assert sets[str(designs)]["long"]["designs"]["contact_precision"] is None
    drawn = list((tmp_path / "families.sets" / "short").glob("tiny_2_*.fasta"))
    assert len(drawn) == 1
    assert drawn[0].read_text().count(">") == 3
    assert set(sets["tiny:2"]) == {"long", "short"}


def test_nothing_to_measure_and_no_family(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--designs"):
        main(tmp_path, tmp_path / "a.json")
    with pytest.raises(UserError, match="--data"):
        read_families(tmp_path)
