"""The benchmark of the whole chain, on a few designs and a folding model of two blocks."""

import json

import pytest

from benchmarks import scored_designs


def test_every_part_is_timed_and_top_folds_fewer(tmp_path, monkeypatch):
    out = tmp_path / "found.json"
    given = ["--num", "6", "--length", "20-30", "--steps", "2", "--survivors", "4", "--top", "1"]
    given += ["--blocks", "1", "--layers", "1", "--recycles", "0", "--device", "cpu"]
    monkeypatch.setattr("sys.argv", ["scored_designs.py", *given, "--out", str(out)])
    scored_designs.main()
    found = json.loads(out.read_text())
    parts = found["parts"]
    assert {name: part["num_designs"] for name, part in parts.items()} == {
        **{"generate": 6, "score": 6, "filter": 4, "fold": 4, "page": 4},
        "fold_top": parts["fold_top"]["num_designs"],
    }
    assert 1 <= parts["fold_top"]["num_designs"] <= 4
    shares = [part.get("share_of_processor_time", 0) for part in parts.values()]
    assert sum(shares) == pytest.approx(1)
    assert found["folded_designs_an_hour"] > 0
