"""`score --family`: columns, statistics of the set, resume, shards, and what cannot be meant."""

import gzip
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scoring_fixtures import quick_scores

from didi_core.errors import UserError
from didi_protein.families import ContactMap, FamilyProfile, measure_family
from didi_protein.families.profile import extents
from didi_protein.score import ScoreOptions, score
from didi_protein.scoring.columns import names_by
from didi_protein.scoring.family import known_or_none
from didi_protein.scoring.show import print_summary

pytest.importorskip("pyhmmer")
RESIDUES = np.array(list("ACDEFGHIKLMNPQRSTVWY"))
COLUMNS = list(names_by("family"))


def relatives(count: int, seed: int, width: int = 40) -> list[str]:
    """Sequences that share three residues in four with one of their width."""
    shared = np.random.default_rng(0).choice(RESIDUES, width)
    generator = np.random.default_rng(seed)
    drawn = generator.choice(RESIDUES, (count, width))
    kept = generator.random((count, width)) < 0.75
    return ["".join(row) for row in np.where(kept, shared, drawn)]


def write_fasta(path: Path, sequences: list[str]) -> Path:
    text = "".join(f">{path.stem}_{n}\n{each}\n" for n, each in enumerate(sequences))
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


DESIGNS = [*relatives(20, seed=2), "".join(np.random.default_rng(9).choice(RESIDUES, 60))]


@pytest.fixture
def options(tmp_path: Path) -> ScoreOptions:
    designs = write_fasta(tmp_path / "designs.fasta", DESIGNS)
    family = write_fasta(tmp_path / "family.fasta.gz", relatives(80, seed=1))
    contacts = tmp_path / "contacts.tsv"
    pairs = [(i, j) for i in range(1, 41) for j in range(i + 1, 41)]
    lines = [f"{i}\t{j}\t{4 if (i + j) % 7 == 0 else 20}" for i, j in pairs]
    contacts.write_text("\n".join(["column_i\tcolumn_j\tdistance_angstrom", *lines]) + "\n")
    return quick_scores(designs, tmp_path / "scores.csv", family=family, contacts=contacts)


def test_columns_and_statistics_are_those_of_the_family(
    options: ScoreOptions, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)  # test runners set it in their workers
    result = score(options)
    assert result is not None and options.family is not None and options.contacts is not None
    profile = FamilyProfile.read(options.family)
    aligned = profile.align(DESIGNS, threads=1)
    measured = np.stack([aligned.bits, aligned.evalue, aligned.coverage], axis=1)
    ends = extents(profile, DESIGNS[:-1])  # the last is of no family
    expected = np.hstack([measured, np.vstack([ends, [[np.nan, np.nan]]])])
    np.testing.assert_allclose(result.table[COLUMNS].to_numpy(float), expected, rtol=1e-5)
    assert result.table[COLUMNS].isna().iloc[-1].all() and result.table["status"].eq("ok").all()
    assert result.table[COLUMNS].notna().iloc[:-1].all(axis=None)

    contacts = ContactMap.read(options.contacts, profile.num_columns)
    nature = profile.align_members(threads=1)
    statistics = measure_family(aligned, nature, contacts, seed=options.seed).as_dict()
    stored = json.loads(result.summary_file.read_text())["family"]
    assert stored["statistics"] == json.loads(json.dumps(known_or_none(statistics)))
    assert stored["statistics"]["designs"]["n"] == 20
    assert stored["statistics"]["designs"]["contact_precision"] is not None
    assert stored["num_columns"] == 40 and stored["num_sequences"] == 80

    print_summary(result)
    printed = " ".join(capsys.readouterr().out.split())
    assert "independent columns" in printed and "pair covariances, r" in printed
    assert "1 of 21 designs without an alignment to the family" in printed


def test_a_profile_alone_gives_the_columns_and_says_why_no_statistics(
    options: ScoreOptions, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert options.family is not None
    hmm = tmp_path / "family.hmm"
    with open(hmm, "wb") as stream:
        FamilyProfile.read(options.family).hmm.write(stream)
    result = score(replace(options, family=hmm, contacts=None))
    assert result is not None
    assert result.table["family_bits"].notna().sum() == 20
    assert result.summary["family"]["statistics"]["designs"] is None
    print_summary(result)
    assert result.summary["family"]["statistics"]["reason"].split()[0] in capsys.readouterr().out
    with pytest.raises(UserError, match="--contacts"):
        score(replace(options, family=hmm, overwrite=True))


def test_a_finished_table_gets_the_columns_by_resuming(options: ScoreOptions) -> None:
    score(replace(options, family=None, contacts=None))
    resumed = score(replace(options, resume=True))
    whole = score(replace(options, out=options.out.with_name("whole.csv")))
    assert resumed is not None and whole is not None
    assert options.out.read_bytes() == whole.out.read_bytes()
    assert resumed.summary["family"] == whole.summary["family"]


def test_shards_have_the_columns_and_leave_statistics_to_the_whole(options: ScoreOptions) -> None:
    whole = score(options)
    parts = [
        score(replace(options, out=options.out.with_name(f"{i}.csv"), shard=f"{i}/2"))
        for i in (1, 2)
    ]
    assert whole is not None
    bits = {row.id: row.family_bits for part in parts if part for row in part.table.itertuples()}
    np.testing.assert_array_equal(
        whole.table["family_bits"].to_numpy(), [bits[each] for each in whole.table["id"]]
    )
    assert [part.summary["family"]["statistics"] for part in parts if part] == [None, None]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"family": None}, ("--contacts", "--family")),
        ({"family": Path("nowhere.fasta")}, ("--family", "nowhere.fasta")),
        ({"contacts": Path("nowhere.tsv")}, ("--contacts", "nowhere.tsv")),
    ],
)
def test_what_cannot_be_meant_is_refused(
    options: ScoreOptions, change: dict[str, Path | None], named: tuple[str, ...]
) -> None:
    with pytest.raises(UserError) as caught:
        score(replace(options, **change))
    assert all(each in str(caught.value) for each in named)
    assert not options.out.exists()


def test_a_path_with_the_name_of_a_bundled_family_is_refused(
    options: ScoreOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    own = write_fasta(tmp_path / "PF00595", relatives(80, seed=1))
    with pytest.raises(UserError, match=r"--family PF00595 .* absolute path"):
        score(replace(options, family=Path("PF00595"), contacts=None))
    result = score(replace(options, family=own, contacts=None))
    assert result is not None and result.summary["family"]["num_columns"] == 40
