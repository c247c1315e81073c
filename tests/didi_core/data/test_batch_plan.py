"""Batches of a training step: every record once an epoch, a function of (seed, step) alone."""

from itertools import count

import numpy as np
import pytest
from tiny_models import FRAMED, tiny_corpus

from didi_core.data.batch_plan import BatchPlan
from didi_core.data.batches import bucket_width
from didi_core.data.corpus import Corpus, CorpusBatches, share_of_batch

LENGTHS = [int(n) for n in np.random.default_rng(0).integers(3, 300, 500)]


def epochs_of(plan: BatchPlan, num_records: int, num_epochs: int) -> list[list[np.ndarray]]:
    epochs, batches, seen = [], [], 0
    for step in count():
        batches.append(plan.batch(step))
        seen += len(batches[-1])
        assert seen <= num_records, "an epoch ends at a batch's end"
        if seen == num_records:
            epochs.append(batches)
            batches, seen = [], 0
        if len(epochs) == num_epochs:
            return epochs


def test_each_epoch_visits_every_record_once_within_the_budget() -> None:
    plan = BatchPlan(LENGTHS, tokens_per_batch=2048, seed=1)
    epochs = epochs_of(plan, len(LENGTHS), 3)
    for batches in epochs:
        assert sorted(np.concatenate(batches).tolist()) == list(range(len(LENGTHS)))
        for batch in batches:
            widest = max(bucket_width(LENGTHS[i]) for i in batch)
            assert len(batch) * widest <= 2048
    orders = [np.concatenate(batches).tolist() for batches in epochs]
    assert orders[0] != orders[1] != orders[2], "each epoch is mixed anew"
    assert len(epochs[0]) == plan.batches_per_epoch()


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    plan = BatchPlan(LENGTHS, 2048, seed=1)
    in_order = [plan.batch(step).tolist() for step in range(200)]
    assert [plan.batch(step).tolist() for step in reversed(range(200))] == in_order[::-1]
    assert BatchPlan(LENGTHS, 2048, seed=1).batch(150).tolist() == in_order[150]
    assert BatchPlan(LENGTHS, 2048, seed=2).batch(150).tolist() != in_order[150]


def test_a_record_past_the_budget_still_gets_a_batch() -> None:
    plan = BatchPlan([5, 900, 7], tokens_per_batch=64, seed=0)
    assert sorted(i for step in range(plan.batches_per_epoch()) for i in plan.batch(step)) == [
        0,
        1,
        2,
    ]


def test_a_longer_record_is_cropped_to_a_window_that_step_and_record_choose() -> None:
    corpus = Corpus.from_ids([[3] * 5 + [4] * 5 + [5] * 5, [3, 4]])
    data = CorpusBatches(corpus, FRAMED, 256, max_length=6, seed=0)
    whole = corpus.ids(0, crop=100)
    windows = set()
    for step in range(60):
        batch = data.batch(np.array([0, 1]), step)
        assert batch.lengths.tolist() == [8, 4]
        inside = batch.tokens[0, 1:7].tolist()
        windows |= {i for i in range(10) if whole[i : i + 6] == inside}
        assert batch.tokens[1, :4].tolist() == FRAMED.frame([3, 4])
        assert data.batch(np.array([1, 0]), step).tokens[1, 1:7].tolist() == inside
    assert windows == set(range(10)), "every window, the first and the last too"


@pytest.mark.parametrize(("num_records", "world_size"), [(7, 1), (7, 2), (8, 3), (1, 2), (2, 4)])
def test_the_shares_of_processes_are_the_batch(num_records: int, world_size: int) -> None:
    shares = [share_of_batch(num_records, rank, world_size) for rank in range(world_size)]
    counted = [place for places, weight in shares if weight for place in places.tolist()]
    assert sorted(counted) == list(range(num_records))
    assert all(len(places) for places, _ in shares), "no process is without a record"


def test_records_too_long_can_be_left_out() -> None:
    corpus = tiny_corpus(low=3, high=9)
    kept = corpus.no_longer_than(6)
    assert max(kept.lengths) == 6 and len(kept) == int((corpus.lengths <= 6).sum())
    assert kept.ids(0, 9) == corpus.ids(int(np.flatnonzero(corpus.lengths <= 6)[0]), 9)
