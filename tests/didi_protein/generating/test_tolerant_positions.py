"""`generate --vary tolerant:20`: the positions that a scan finds most tolerant, and no others."""

import json
from pathlib import Path
from typing import Any

import pytest
from generate_fixtures import design, designs
from scoring_fixtures import write_judge, write_uniform

from didi_core.errors import UserError
from didi_protein.merge import MergeOptions, merge
from didi_protein.scan import ScanOptions, scan
from didi_protein.sequences.positions import parse_positions
from didi_protein.sequences.training_data import read_training_sequences

PARENTS = {"one": "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQA", "two": "ACDEFGHIKLMNPQRSTVWYC"}


@pytest.fixture
def parents(tmp_path: Path) -> Path:
    path = tmp_path / "parents.fasta"
    path.write_text("".join(f">{name}\n{each}\n" for name, each in PARENTS.items()))
    return path


def redesigned(model: Path, out: Path, parents: Path, **changes: Any) -> Any:
    asked = {"length": None, "num": 30, "start": parents, "batch_tokens": 512, **changes}
    return design(model, out, **asked)


def written_anew(result: Any) -> dict[str, set[int]]:
    """Of each parent the positions, from 0, at which any of its designs differs."""
    found: dict[str, set[int]] = {name: set() for name in PARENTS}
    for record in designs(result):
        name = record.header["parent"]
        pairs = zip(PARENTS[name], record.sequence, strict=True)
        found[name] |= {place for place, (own, other) in enumerate(pairs) if own != other}
    return found


@pytest.mark.parametrize(
    ("vary", "keep", "counts"),
    [
        ("tolerant:4", None, {"one": 4, "two": 4}),
        (" Tolerant: 4", "5-9,12", {"one": 4, "two": 4}),
        ("tolerant:20%", None, {"one": 7, "two": 4}),
        ("tolerant:1%", None, {"one": 1, "two": 1}),
        ("tolerant:100%", "C", {"one": 34, "two": 19}),
    ],
)
def test_what_changes_is_what_a_scan_finds_most_tolerant(
    model: Path, tmp_path: Path, parents: Path, vary: str, keep: str | None, counts: dict[str, int]
) -> None:
    asked = ScanOptions(
        inputs=[str(parents)], model=str(model), out=tmp_path / "s.csv", device="cpu", quiet=True
    )
    scans = scan(asked).scans
    made = redesigned(model, tmp_path / "d.fasta", parents, vary=vary, keep=keep)
    for name, places in written_anew(made).items():
        letters = keep if keep is not None and keep.isalpha() else ""
        kept = {at for at, each in enumerate(PARENTS[name]) if each in letters}
        kept |= {4, 5, 6, 7, 8, 11} if keep is not None and not letters else set()
        order = [at for at in scans[name].most_tolerant(99) if at not in kept]
        assert places <= set(order[: counts[name]])
        # The residue of the parent may come back each time, as where its tolerance is small.
        assert len(places) >= counts[name] / 2


def test_shards_vary_the_same_positions(model: Path, tmp_path: Path, parents: Path) -> None:
    whole = redesigned(model, tmp_path / "whole.fasta", parents, vary="tolerant:5")
    parts = [tmp_path / "part1.fasta", tmp_path / "part2.fasta"]
    for index, part in enumerate(parts, start=1):
        redesigned(model, part, parents, vary="tolerant:5", shard=f"{index}/2")
    merge(MergeOptions(shards=parts, out=tmp_path / "all.fasta"))
    assert (tmp_path / "all.fasta").read_bytes() == whole.fasta.read_bytes()


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"vary": "tolerant:0"}, ("--vary tolerant:0", "tolerant:20")),
        ({"vary": "tolerant"}, ("--vary tolerant", "tolerant:20")),
        ({"vary": "tolerant:many"}, ("--vary tolerant:many", "tolerant:20%")),
        ({"vary": "tolerant:0%"}, ("--vary tolerant:0%", "tolerant:20%")),
        ({"vary": "tolerant:120%"}, ("--vary tolerant:120%", "100%")),
        ({"vary": "tolerant:22"}, ("--vary tolerant:22", "two", "21 residues")),
        ({"vary": "tolerant:20", "keep": "CA"}, ("--vary tolerant:20", "two", "18 residues")),
        ({"vary": "tolerant:4", "mutate": "20%"}, ("--mutate and --vary",)),
        ({"vary": "tolerant:4", "identity": "0.5-0.6"}, ("--identity 0.5-0.6", "4 may change")),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(
    model: Path, tmp_path: Path, parents: Path, asked: dict[str, Any], named: tuple[str, ...]
) -> None:
    with pytest.raises(UserError) as caught:
        redesigned(model, tmp_path / "d.fasta", parents, **asked)
    assert all(each in str(caught.value) for each in named), caught.value
    assert not (tmp_path / "d.fasta").exists()


@pytest.mark.parametrize(
    ("write", "words", "steps"),
    [(write_uniform, "uniform", 4), (write_judge, "autoregressive", None)],
)
def test_models_that_predict_no_masked_residue_are_refused(
    write: Any, words: str, steps: int | None, tmp_path: Path, parents: Path
) -> None:
    asked = {"vary": "tolerant:4", "steps": steps}
    with pytest.raises(UserError, match=words) as caught:
        redesigned(write(tmp_path / "m"), tmp_path / "d.fasta", parents, **asked)
    assert "tolerant:4" in str(caught.value) and "12,15,40-50" in str(caught.value)


def test_each_header_names_the_positions_that_the_model_chose(
    model: Path, tmp_path: Path, parents: Path
) -> None:
    made = redesigned(model, tmp_path / "d.fasta", parents, vary="tolerant:4", num=20)
    for name, places in written_anew(made).items():
        told = {each.header["varied"] for each in designs(made) if each.header["parent"] == name}
        assert len(told) == 1
        assert places <= set(parse_positions(told.pop(), "varied"))
    given = redesigned(model, tmp_path / "g.fasta", parents, vary="3,5", num=2)
    assert all("varied" not in each.header for each in designs(given))


@pytest.mark.parametrize(("name", "warned"), [("PDZ", False), ("lysozyme", True)])
def test_parents_that_a_model_of_some_families_does_not_know_are_warned_of(
    tmp_path: Path, name: str, warned: bool
) -> None:
    sequence = (
        "MNIFEMLRIDEGLRLKIYKDTEGYYTIGIGHLLTKSPSLNAAKSELDKAIGRNTNGVITKDEAEKLFNQDVDAAVRGILRNAKLKPVYDS"
        "LDAVRRAAINMVFQMGETGVAGFTNSLRMLQQKRWDEAAVNLAKSRWYNQTPNRAKRVITTFRTGTWDAYKNL"
        if warned
        else read_training_sequences("PF00595-held-out")[0][1]
    )
    start = tmp_path / "p.fasta"
    start.write_text(f">{name}\n{sequence}\n")
    asked = {"length": None, "start": start, "mutate": "10%", "num": 1, "steps": 1}
    made = design(Path("tiny-student"), tmp_path / "d.fasta", **asked)
    warnings = json.loads(made.summary.read_text())["warnings"]
    assert [name in each and "tiny-student" in each for each in warnings] == [True] * warned
