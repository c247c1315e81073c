"""Which sequences fold together, names of files, structures, and what there is of memory."""

import random

import pytest
import torch
from Bio.PDB import PDBParser
from folding_fixtures import build_folding_network, fold_sequences
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.models.esm.openfold_utils import residue_constants

from didi_core.peak_memory import is_out_of_memory
from didi_protein.folding import memory
from didi_protein.folding.confidence import read_folds
from didi_protein.folding.fold import ALPHA_CARBON
from didi_protein.folding.memory import MAX_PADDING, padding_waste, plan_pair_batches
from didi_protein.folding.structure_files import (
    MAX_LENGTH,
    PER_RESIDUE_COLUMNS,
    FoldFiles,
    pdb_text,
    per_residue_text,
    safe_names,
)
from didi_protein.folding.trunk import run_network


@given(
    lengths=st.lists(st.integers(1, 400), max_size=60), budget=st.sampled_from([1, 10_000, 524_288])
)
@settings(max_examples=50, deadline=None)
def test_batches_hold_all_once_within_budget_and_padding(lengths, budget):
    batches = plan_pair_batches(lengths, budget)
    assert sorted(record for batch in batches for record in batch) == list(range(len(lengths)))
    for batch in batches:
        padded = len(batch) * max(lengths[i] for i in batch) ** 2
        assert len(batch) == 1 or padded <= budget
        assert padding_waste(lengths, [batch]) <= MAX_PADDING
    assert [lengths[batch[0]] for batch in batches] == sorted(lengths[b[0]] for b in batches)


def test_mixed_lengths_pack_with_little_padding():
    generator = random.Random(0)
    lengths = [generator.randint(50, 400) for _ in range(200)]
    batches = plan_pair_batches(lengths, 524_288)
    assert padding_waste(lengths, batches) < 0.15
    assert len(batches) < len(lengths) / 3
    assert plan_pair_batches([], 10) == []
    # Without its limit of padding, 49 short ones would ride with one long.
    assert plan_pair_batches([20] * 49 + [100], 10**9) == [list(range(49)), [49]]


HOSTILE = [
    "../../etc/passwd", "/absolute", "a/b", "a\\b", "..", ".", "", " ", "nul", "CON.txt", "-rf",
    ".hidden", "tr|P12345|NAME_HUMAN", "x" * 500, "x" * 501, "ünïcode", "日本", "a:b", "a\nb",
    "plain", "PLAIN", "Plain", "a b", "a_b", "end.", "design_1#2", "\udcff", "com1.fasta",
]  # fmt: skip


def test_names_stay_in_their_folder_and_differ_on_any_file_system(tmp_path):
    names = safe_names(HOSTILE)
    assert list(names) == HOSTILE
    assert len({name.casefold() for name in names.values()}) == len(HOSTILE)
    for name in names.values():
        path = (tmp_path / f"{name}.pdb").resolve()
        assert path.parent == tmp_path.resolve()
        assert 0 < len(name) <= MAX_LENGTH
        assert name[0] not in ".-" and not name.endswith(".")
        assert name.split(".")[0].lower() not in ("con", "nul", "com1")
        path.write_text("")
    assert len(list(tmp_path.iterdir())) == len(HOSTILE)
    assert names["plain"] == "plain" and names["design_1#2"] == "design_1#2"
    assert names["PLAIN"].startswith("PLAIN-")
    # An id that looks like another's name with its digest.
    assert len(set(safe_names([names["PLAIN"], "plain", "PLAIN"]).values())) == 3
    # A later id never changes the name of an earlier one.
    assert safe_names(["Plain", "plain"])["Plain"] == "Plain"
    assert all(safe_names(HOSTILE[:n])[HOSTILE[0]] == names[HOSTILE[0]] for n in range(1, 5))


@given(ids=st.lists(st.text(max_size=120), unique=True, max_size=30))
@settings(max_examples=50, deadline=None)
def test_names_of_any_ids_differ(ids):
    names = safe_names(ids)
    assert len({name.casefold() for name in names.values()}) == len(ids)
    assert all("/" not in name and "\\" not in name and name.isascii() for name in names.values())


@pytest.fixture(scope="module")
def fold_and_sequence():
    network, sequence = build_folding_network(), fold_sequences()[2]
    ids = torch.tensor([residue_constants.restype_order[residue] for residue in sequence])
    return read_folds(network, run_network(network, [ids]))[0], sequence


def test_a_structure_reads_back_with_its_plddt_in_the_b_factor(fold_and_sequence, tmp_path):
    fold, sequence = fold_and_sequence
    files = FoldFiles(safe_names(["a/b"]), tmp_path, tmp_path / "pdb", tmp_path / "residues")
    files.write("a/b", sequence, fold, "small")
    path = tmp_path / files.pdb_file("a/b")
    assert path == files.pdb_path("a/b") and path.parent == tmp_path / "pdb"
    structure = PDBParser(QUIET=True, PERMISSIVE=False).get_structure("x", path)
    residues = list(structure.get_residues())
    letters = [residue_constants.restype_3to1[residue.resname] for residue in residues]
    assert "".join(letters) == sequence
    assert [residue.id[1] for residue in residues] == list(range(1, len(sequence) + 1))
    carbons = [residue["CA"] for residue in residues]
    assert [atom.bfactor for atom in carbons] == pytest.approx(fold.plddt.tolist(), abs=0.005001)
    assert max(atom.bfactor for atom in structure.get_atoms()) > 1.5  # 0 to 100, not 0 to 1
    for atom, position in zip(carbons, fold.atoms[:, ALPHA_CARBON], strict=True):
        assert atom.coord.tolist() == pytest.approx(position.tolist(), abs=6e-4)
    assert all(len(line) <= 80 for line in path.read_text().splitlines())
    assert "é" not in pdb_text(fold, "é", "é")


def test_values_by_residue_average_to_those_of_the_table(fold_and_sequence):
    fold, sequence = fold_and_sequence
    lines = [line.split(",") for line in per_residue_text(sequence, fold).splitlines()]
    assert tuple(lines[0]) == PER_RESIDUE_COLUMNS
    assert "".join(line[1] for line in lines[1:]) == sequence
    assert [int(line[0]) for line in lines[1:]] == list(range(1, len(sequence) + 1))
    plddt, pae = (sum(float(line[i]) for line in lines[1:]) / len(sequence) for i in (2, 4))
    assert plddt == pytest.approx(fold.mean_plddt, abs=1e-3)
    assert pae == pytest.approx(fold.mean_pae, abs=1e-3)


def test_chunks_shrink_while_memory_runs_out_and_other_errors_pass():
    tried = []

    def compute(size):
        tried.append(size)
        if size is None or size > 16:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return "done"

    assert memory.with_smaller_chunks(compute, None) == ("done", 16)
    assert tried == [None, 64, 32, 16]
    tried.clear()
    assert memory.with_smaller_chunks(compute, 24) == ("done", 12)
    assert tried == [24, 12]
    with pytest.raises(MemoryError, match="even alone and in chunks of 8: MemoryError: no room"):
        memory.with_smaller_chunks(lambda _: (_ for _ in ()).throw(MemoryError("no room")), 32)
    with pytest.raises(ZeroDivisionError):
        memory.with_smaller_chunks(lambda _: 1 // 0, None)


def test_lack_of_memory_is_told_from_other_failures():
    allocator = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."
    assert is_out_of_memory(RuntimeError(allocator))
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60)
    assert is_out_of_memory(caught.value)


def test_what_would_not_fit_on_a_processor_is_not_tried(monkeypatch):
    pair = memory.bytes_per_pair(build_folding_network().config)
    need = 2 * 100**2 * pair
    monkeypatch.setattr(memory, "available_memory", lambda: need)
    memory.require_memory(pair, 2, 100, torch.device("cpu"))
    monkeypatch.setattr(memory, "available_memory", lambda: need - 1)
    with pytest.raises(MemoryError, match="2 x 100 residues need about"):
        memory.require_memory(pair, 2, 100, torch.device("cpu"))
    memory.require_memory(pair, 2, 100, torch.device("cuda"))  # a GPU says so itself


def test_a_container_s_limit_counts(monkeypatch, tmp_path):
    limit, used = tmp_path / "limit", tmp_path / "used"
    monkeypatch.setattr(memory, "_CGROUP", ((limit, used),))
    without = memory.available_memory()
    limit.write_text("max\n")
    used.write_text("400\n")
    assert memory.available_memory() == pytest.approx(without, rel=0.2)
    limit.write_text("1000\n")
    assert memory.available_memory() == 600
