"""References in groups of one length, the same for any number of processes; a pool of samples."""

import json
from collections import Counter
from pathlib import Path

import pytest
import torch
from exact_denoiser import ExactDenoiser, chi_square_p_value, random_law, toy_vocabulary
from tiny_models import FRAMED, MASK, as_teacher, timed_esm, tiny_corpus, tiny_denoiser

from didi_core.data.batches import pad_batch
from didi_core.data.corpus import Corpus
from didi_core.diffusion.process import PROCESSES
from didi_core.distill.pool import POOL_RECORDS, teacher_pool
from didi_core.distill.reference import GroupedReference
from didi_core.errors import UserError
from didi_core.sampling.folder_defaults import plain_sampler
from didi_core.sampling.predictor import Predictor
from didi_core.sampling.request import Prior, SampleSettings
from didi_core.sampling.run_request import MAX_TRIES, TRY_STRIDE

CORPUS = tiny_corpus(300, seed=4, low=3, high=40)


def reference_of(group_size: int = 4, tokens: int = 512, max_length: int = 40) -> GroupedReference:
    return GroupedReference(CORPUS, FRAMED, group_size, tokens, max_length, seed=2)


def test_a_group_shares_its_length_and_every_row_is_a_record() -> None:
    records = {tuple(FRAMED.frame(CORPUS.ids(i, 100))) for i in range(len(CORPUS))}
    reference = reference_of()
    for step in range(30):
        found = reference.batch(step)
        batch = found.batch
        lengths = batch.lengths.view(-1, 4)
        assert (lengths == lengths[:, :1]).all()
        assert found.rows.tolist() == list(range(len(batch)))
        assert batch.tokens.numel() <= 512 or len(batch) == 4
        for row, length in zip(batch.tokens.tolist(), batch.lengths.tolist(), strict=True):
            assert tuple(row[:length]) in records
        assert torch.equal(batch.maskable.sum(-1), batch.lengths - 2)


@pytest.mark.parametrize("world_size", [2, 3])
def test_processes_share_a_batch_by_whole_groups(world_size: int) -> None:
    reference = reference_of(tokens=1024)
    for step in range(10):
        whole = reference.batch(step)
        num_groups = len(whole.rows) // 4
        assert num_groups >= world_size
        parts = [reference.batch(step, rank, world_size) for rank in range(world_size)]
        rows = torch.cat([part.rows for part in parts])
        assert sorted(rows.tolist()) == whole.rows.tolist()
        for part in parts:
            assert (part.rows.view(-1, 4) // 4 == part.rows.view(-1, 4)[:, :1] // 4).all()
            assert torch.equal(part.batch.tokens, whole.batch.tokens[part.rows])
            assert torch.equal(part.batch.lengths, whole.batch.lengths[part.rows])


def test_there_is_a_group_for_every_process() -> None:
    reference = reference_of(tokens=16)
    assert all(len(reference.batch(0, rank, 3).rows) == 4 for rank in range(3))


def test_lengths_follow_those_of_the_references() -> None:
    reference = reference_of(group_size=1, tokens=16)
    drawn = torch.cat([reference.batch(step).batch.lengths - 2 for step in range(1500)])
    mean = float(CORPUS.lengths.mean())
    assert float(drawn.double().mean()) == pytest.approx(mean, abs=1.5)
    assert drawn.min() == CORPUS.lengths.min() and drawn.max() == CORPUS.lengths.max()


def test_longer_records_are_left_out() -> None:
    reference = reference_of(max_length=10)
    assert max(int(reference.batch(step).batch.lengths.max()) for step in range(40)) <= 12
    with pytest.raises(UserError, match=r"max_length=2: every reference .* shortest has 3"):
        reference_of(max_length=2)


def test_a_step_is_a_function_of_seed_and_step() -> None:
    first, again = reference_of().batch(7).batch, reference_of().batch(7).batch
    assert torch.equal(first.tokens, again.tokens)
    other = GroupedReference(CORPUS, FRAMED, 4, 512, 40, seed=3).batch(7).batch
    assert first.tokens.shape != other.tokens.shape or not torch.equal(first.tokens, other.tokens)


LENGTHS = [5, 9, 3, 20, 7, 5, 14]


def pool_in(folder: Path, steps: int | None = 4, seed: int = 1) -> Corpus:
    teacher = as_teacher(tiny_denoiser(2))
    return teacher_pool(teacher, LENGTHS, steps, seed, batch_tokens=32, folder=folder)


@pytest.mark.parametrize("steps", [4, None])
def test_an_interrupted_pool_is_continued_bit_by_bit(tmp_path: Path, steps: int | None) -> None:
    whole = pool_in(tmp_path / "whole", steps)
    assert sorted(whole.lengths.tolist()) == sorted(LENGTHS)
    assert set(whole.flat.tolist()) <= set(FRAMED.generable_ids)
    parts = sorted((tmp_path / "whole").iterdir())
    assert len(parts) > 2
    broken = tmp_path / "broken"
    broken.mkdir()
    for part in (parts[0], parts[2]):
        (broken / part.name).write_bytes(part.read_bytes())
    kept = (broken / parts[0].name).stat().st_mtime_ns
    continued = pool_in(broken, steps)
    assert continued.flat.tolist() == whole.flat.tolist()
    assert continued.starts.tolist() == whole.starts.tolist()
    assert (broken / parts[0].name).stat().st_mtime_ns == kept, "what was there is not made anew"


def test_the_number_of_steps_and_the_seed_act(tmp_path: Path) -> None:
    plain = pool_in(tmp_path / "a").flat.tolist()
    assert pool_in(tmp_path / "b", steps=1).flat.tolist() != plain
    assert pool_in(tmp_path / "c", seed=2).flat.tolist() != plain
    content = json.loads(next((tmp_path / "a").iterdir()).read_text())
    assert all(MASK not in row for row in content)


@pytest.mark.usefixtures("unchecked")  # its network stands for one of ours
def test_a_pool_at_the_limit_follows_the_teacher_s_law(tmp_path: Path) -> None:
    law = random_law(3, 2, seed=5)
    teacher = as_teacher(ExactDenoiser([law], 3), vocabulary=toy_vocabulary(3))
    corpus = teacher_pool(teacher, [2] * 5000, None, 0, 80_000, tmp_path)
    found = Counter(tuple(corpus.ids(i, 2)) for i in range(len(corpus)))
    assert chi_square_p_value(found, law) > 1e-3


@pytest.mark.parametrize("process", PROCESSES)
def test_a_pool_is_drawn_by_the_plain_sampler_of_its_process(process: str, tmp_path: Path) -> None:
    teacher = as_teacher(timed_esm(2), process)
    pool = teacher_pool(teacher, [9] * 8, 4, 0, 512, tmp_path)
    sampler = plain_sampler(process).build(Predictor(teacher.denoiser, FRAMED), teacher, {})
    batch = pad_batch([FRAMED.frame([MASK] * 9)] * 8, FRAMED)
    prior = Prior(batch, POOL_RECORDS + torch.arange(8))
    made = sampler.sample(prior, SampleSettings(steps=4)).tokens
    assert pool.flat.tolist() == made[batch.maskable].tolist()


def test_random_numbers_of_a_pool_are_not_those_of_a_further_try() -> None:
    """A redrawn design of the same seed must not be one of the pool, which is training data."""
    assert POOL_RECORDS > MAX_TRIES * TRY_STRIDE + TRY_STRIDE


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("tokens", [None, 40, 300, 5000])
def test_passes_share_what_a_process_has_by_whole_groups(
    world_size: int, tokens: int | None
) -> None:
    reference = reference_of(tokens=1024)
    reference.passes.tokens = tokens
    for step in range(10):
        whole = reference.batch(step)
        parts = [reference.in_passes(step, rank, world_size) for rank in range(world_size)]
        assert len({len(each) for each in parts}) == 1, "as many in every process"
        for rank, passes in enumerate(parts):
            own = sorted(torch.cat([each.rows for each in passes]).tolist())
            assert own == reference.batch(step, rank, world_size).rows.tolist()
            for each in passes:
                assert torch.equal(each.batch.tokens, whole.batch.tokens[each.rows])
                assert (each.rows.view(-1, 4) // 4 == each.rows.view(-1, 4)[:, :1] // 4).all()
                fits = tokens is None or each.batch.tokens.numel() <= tokens
                assert fits or len(each.rows) <= (4 if world_size == 1 else 8)
