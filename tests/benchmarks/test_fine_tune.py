"""The benchmark of fine-tuning: relatives are removed, sets are nested, points are kept."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.fine_tune import Study, first_of, main, opened, points_of, write_records
from benchmarks.held_out_likelihood import Split
from didi_core.errors import UserError
from didi_protein.families.alignments import read_alignment
from didi_protein.sequences.bundled import HELD_OUT, bundled_sequences
from didi_protein.sequences.training_data import read_training_sequences


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A study whose families are domains of both kinds, and sequences of no family."""
    runs = tmp_path_factory.mktemp("runs")
    pdz, lactamases = (read_training_sequences(name)[:20] for name in ("PF00595", "PF13354"))
    write_records(runs / "families.fasta", [*pdz, *lactamases])
    whole = Split.of(read_alignment(bundled_sequences("PF00595" + HELD_OUT)[0]))
    return Study(runs, runs / "families.fasta", first_of(whole, 40), 1, (1, 2), 512, "cpu")


def test_relatives_are_removed_before_a_teacher_learns(study: Study) -> None:
    kept = read_training_sequences(study.without_relatives())
    assert [sequence for _, sequence in kept] == [
        sequence for _, sequence in read_training_sequences("PF13354")[:20]
    ]


def test_smaller_sets_are_parts_of_larger_ones(study: Study) -> None:
    few, more = (read_training_sequences(study.members(count, 0)) for count in ("100", "300"))
    assert (len(few), len(more)) == (100, 300) and few == more[:100]
    assert study.members("all", 0) == "PF00595"
    assert read_training_sequences(study.members("100", 1)) != few


def test_a_record_goes_on_with_the_same_grid_alone(study: Study, tmp_path: Path) -> None:
    record = opened(tmp_path / "new.json", study)
    assert record["counting"]["profile"]["mean"] < record["counting"]["unigram"]["mean"] < 3.0
    (tmp_path / "old.json").write_text(json.dumps(record))
    assert opened(tmp_path / "old.json", study) == json.loads(json.dumps(record))
    record["settings"]["updates"] = [5]
    (tmp_path / "other.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match="other settings"):
        opened(tmp_path / "other.json", study)


def test_fresh_weights_are_measured_once_their_gentle_start_is_over() -> None:
    assert points_of("families", (40, 160)) == (0, 40, 160)
    assert points_of("scratch", (40, 100, 160)) == (160,)


def test_an_unknown_start_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--starts"):
        main(tmp_path / "runs", tmp_path / "f.fasta", tmp_path / "o.json", starts="nothing")


def test_a_part_of_a_split_is_drawn_once(study: Study) -> None:
    again = first_of(study.held_out, 10)
    assert len(again.sequences) == 10 and again.rows.shape[0] == 10
    assert first_of(again, 0) is again and np.all(again.lengths > 0)
