"""`valid=10%`: whole clusters are held out, the same ones every time."""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_families import families

from didi_core.errors import UserError
from didi_protein.similarity import mmseqs
from didi_protein.similarity.mmseqs import cluster_founders
from didi_protein.similarity.splits import (
    COVERAGE,
    IDENTITIES,
    Record,
    choose_clusters,
    split_as_before,
    split_by_cluster,
)

RECORDS = families(15, 4)


@pytest.fixture(autouse=True, scope="module")
def clustered_once() -> Iterator[None]:
    """Let MMseqs2 cluster the same sequences once for all tests: it takes seconds."""
    once = lru_cache(mmseqs.cluster_founders)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            mmseqs, "cluster_founders", lambda sequences, *limits: once(tuple(sequences), *limits)
        )
        yield


def family_of(record: Record) -> str:
    return record[0].split("_")[0]


@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=60),
    st.floats(0.01, 0.49),
    st.integers(0, 2**40),
)
def test_clusters_chosen_hold_about_the_share(sizes: list[int], share: float, seed: int) -> None:
    counts = np.array(sizes)
    most = max(1, round(share * counts.sum()))
    chosen = choose_clusters(counts, share, seed)
    held = counts[chosen].sum()
    assert held <= most and (held == 0 or 2 * held >= most)
    assert np.array_equal(chosen, choose_clusters(counts, share, seed))
    if not held:  # nothing that fits was passed over for nothing
        assert counts[counts <= most].sum() * 2 < most or (counts > most // 2).any()


def test_relatives_are_never_apart() -> None:
    records = [*RECORDS, *((f"again_{i}", each) for i, (_, each) in enumerate(RECORDS[:5]))]
    split = split_by_cluster(records, 0.2, 3, "valid=20%")
    assert sorted([*split.training, *split.held_out]) == sorted(records)
    assert 6 <= len(split.held_out) <= 13
    of_training = {sequence for _, sequence in split.training}
    assert not of_training & {sequence for _, sequence in split.held_out}, "copies stay together"
    named = [{family_of(each) for each in part if each[0][0] == "f"} for part in
             (split.training, split.held_out)]  # fmt: skip
    assert not named[0] & named[1]


def test_the_seed_alone_decides() -> None:
    one, same, other = (split_by_cluster(RECORDS, 0.3, seed, "valid=30%") for seed in (1, 1, 2))
    assert one == same and one.held_out != other.held_out


def test_clusters_are_those_of_the_families_at_once_and_by_the_cascade(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sequences = [sequence for _, sequence in RECORDS]
    at_once = mmseqs.cluster_founders(sequences, IDENTITIES[0], COVERAGE)
    assert [founder // 4 for founder in at_once] == [place // 4 for place in range(60)]
    assert all(at_once[founder] == founder for founder in at_once)
    monkeypatch.setattr(mmseqs, "MOST_AT_ONCE", 10)
    by_cascade = cluster_founders(sequences, IDENTITIES[0], COVERAGE)
    assert [founder // 4 for founder in by_cascade] == [founder // 4 for founder in at_once]


def test_files_give_the_split_back(tmp_path: Path) -> None:
    records = RECORDS
    assert split_as_before(records, tmp_path) is None
    split = split_by_cluster(records, 0.25, 0, "valid=25%")
    split.write(tmp_path / "split")
    assert split_as_before(records, tmp_path / "split") == split
    text = (tmp_path / "split" / "valid.fasta").read_text()
    assert text.count(">") == len(split.held_out) and f">{split.held_out[0][0]}\n" in text


@pytest.mark.parametrize(
    ("number", "members"),
    [(5, 3), (1, 20)],  # too few clusters, and one that holds nearly all
)
def test_too_few_clusters_are_refused(number: int, members: int) -> None:
    near = families(number, members, changed=0.02)
    with pytest.raises(UserError, match=r"^valid=10%: .* clusters? even at 90% .*valid=FILE"):
        split_by_cluster(near, 0.1, 0, "valid=10%")


def test_clusters_of_close_relatives_are_narrower() -> None:
    """Members are 81% identical: four clusters at 70% and below, and many at 90%."""
    split = split_by_cluster(families(4, 8), 0.2, 0, "valid=20%")
    assert split.identity == 0.9 and split_by_cluster(RECORDS, 0.2, 0, "").identity == 0.5
    assert 3 <= len(split.held_out) <= 6
