"""Requests run through batches: resume, shards, redraws, memory that runs out."""

import io
import re
from contextlib import redirect_stderr
from pathlib import Path

import pytest
import torch
from exact_denoiser import ExactDenoiser, random_law, toy_vocabulary
from torch import Tensor

from didi_core.data.vocabulary import Vocabulary
from didi_core.errors import UserError
from didi_core.io.shards import Shard, parse_shard
from didi_core.models.esm import EsmDenoiser, EsmSettings
from didi_core.sampling.ancestral import ancestral, first_hitting
from didi_core.sampling.filling import build_engine
from didi_core.sampling.predictor import Predictor
from didi_core.sampling.request import SampledRecord, SampleSettings
from didi_core.sampling.run_request import MAX_TRIES, Request, SampledBatches, run_request

LENGTHS = [5, 30, 17, 9, 12, 25, 3, 15, 14, 28] * 2


def toy_network(dtype: torch.dtype = torch.float64) -> Predictor:
    """A random ESM-layout network over four tokens."""
    vocabulary = toy_vocabulary(4)
    denoiser = EsmDenoiser(EsmSettings(vocabulary.size, 2, 16, 2, 32, vocabulary.mask_id))
    generator = torch.Generator().manual_seed(0)
    for parameter in denoiser.parameters():
        parameter.data.normal_(0, 0.4, generator=generator)
    return Predictor(denoiser.to(dtype).eval(), vocabulary)


def request_of(vocabulary: Vocabulary, lengths: list[int] = LENGTHS, **changes: object) -> Request:
    rows = [[vocabulary.mask_id] * length for length in lengths]
    defaults = {"settings": SampleSettings(steps=4, seed=3), "batch_tokens": 64}
    return Request(rows, **{**defaults, **changes})


def start_partial(path: Path, settings: dict) -> SampledBatches:
    partial = SampledBatches.at(path, settings)
    partial.journal.begin()
    return partial


def continue_partial(path: Path, settings: dict) -> SampledBatches:
    partial = SampledBatches.at(path, settings)
    partial.journal.resume()
    return partial


def run(
    request: Request, predictor: Predictor, path: Path, partial: SampledBatches | None = None
) -> list[SampledRecord]:
    partial = partial or start_partial(path, {})
    build = ancestral if request.settings.steps else first_hitting
    run_request(request, build_engine(predictor, build), partial, quiet=True)
    return sorted(partial.rows, key=lambda row: row.record)


def sequences(rows: list[SampledRecord]) -> list[list[int]]:
    return [row.ids for row in rows]


def test_every_record_comes_out_once_at_its_length(tmp_path: Path) -> None:
    predictor = toy_network()
    rows = run(request_of(predictor.vocabulary), predictor, tmp_path / "p")
    assert [row.record for row in rows] == list(range(len(LENGTHS)))
    assert [len(row.ids) for row in rows] == LENGTHS
    assert {token for row in rows for token in row.ids} <= {0, 1, 2, 3}
    assert all(row.tries == 1 and row.failure is None for row in rows)


@pytest.mark.parametrize("batch_tokens", [1, 48, 100, 10_000])
def test_batches_do_not_matter_with_a_float64_network(tmp_path: Path, batch_tokens: int) -> None:
    predictor = toy_network()
    usual = run(request_of(predictor.vocabulary), predictor, tmp_path / "a")
    changed = request_of(predictor.vocabulary, batch_tokens=batch_tokens)
    assert changed.batches() != request_of(predictor.vocabulary).batches()
    assert run(changed, predictor, tmp_path / "b") == usual


def test_seeds_and_records_differ(tmp_path: Path) -> None:
    predictor = toy_network()
    request = request_of(predictor.vocabulary, [20] * 10)
    rows = sequences(run(request, predictor, tmp_path / "a"))
    assert len({tuple(row) for row in rows}) == 10
    other = request_of(predictor.vocabulary, [20] * 10, settings=SampleSettings(steps=4, seed=4))
    assert sequences(run(other, predictor, tmp_path / "b")) != rows


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_shards_make_up_the_whole(tmp_path: Path, count: int) -> None:
    predictor = toy_network(torch.float32)
    whole = run(request_of(predictor.vocabulary), predictor, tmp_path / "whole")
    parts = []
    for index in range(1, count + 1):
        request = request_of(predictor.vocabulary, shard=Shard(index, count))
        parts += run(request, predictor, tmp_path / f"{index}")
    # Float32, and yet bit for bit: a shard computes whole batches of the whole plan.
    assert sorted(parts, key=lambda row: row.record) == whole


@pytest.mark.parametrize("torn", [b"", b'{"seconds":0.1,"rows":[{"rec', b"\n\n"[:0] + b"{"])
def test_a_run_cut_short_is_continued_bit_for_bit(tmp_path: Path, torn: bytes) -> None:
    predictor = toy_network(torch.float32)
    request = request_of(predictor.vocabulary)
    whole = run(request, predictor, tmp_path / "whole")
    settings = {"steps": 4}
    lines = (tmp_path / "whole").read_bytes().splitlines(keepends=True)
    path = tmp_path / "cut"
    start_partial(path, settings)
    with open(path, "ab") as stream:
        stream.write(b"".join(lines[1:4]) + torn)
    partial = continue_partial(path, settings)
    assert len(partial.journal.entries) == 3
    assert run(request, predictor, path, partial) == whole
    again = continue_partial(path, settings)
    assert sorted(again.rows, key=lambda row: row.record) == whole


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    start_partial(tmp_path / "p", {"steps": 8, "seed": 1, "exclude": "C"})
    with pytest.raises(UserError, match=r"steps was 8, now 16; top_p was not given, now 0\.9"):
        continue_partial(tmp_path / "p", {"steps": 16, "seed": 1, "exclude": "C", "top_p": 0.9})
    (tmp_path / "other").write_text("hello\n")
    with pytest.raises(UserError, match="no unfinished run"):
        continue_partial(tmp_path / "other", {})


def exact_predictor(length: int) -> Predictor:
    return Predictor(ExactDenoiser([random_law(3, length, seed=1)], 3), toy_vocabulary(3))


def test_unique_redraws_until_all_differ(tmp_path: Path) -> None:
    predictor = exact_predictor(2)
    request = request_of(predictor.vocabulary, [2] * 6)
    plain = run(request, predictor, tmp_path / "plain")
    assert len({tuple(row.ids) for row in plain}) < 6
    unique = request_of(predictor.vocabulary, [2] * 6, unique=True)
    rows = run(unique, predictor, tmp_path / "unique")
    kept = [tuple(row.ids) for row in rows if row.failure is None]
    assert len(kept) == len(set(kept)) > len({tuple(row.ids) for row in plain})
    redrawn = [row for row in rows if row.tries > 1]
    assert redrawn
    assert all(row.denoiser_calls > 2 for row in redrawn if row.tries > 2), "all tries count"
    # The first of two equal designs is kept as it was.
    assert [row for row in rows if row.tries == 1] == [
        row for row, new in zip(plain, rows, strict=True) if new.tries == 1
    ]


@pytest.mark.parametrize("batch_tokens", [1, 32, 48])
def test_which_try_is_taken_does_not_depend_on_the_batch(tmp_path: Path, batch_tokens: int) -> None:
    predictor = exact_predictor(2)
    whole = request_of(predictor.vocabulary, [2] * 8, unique=True, batch_tokens=1000)
    small = request_of(predictor.vocabulary, [2] * 8, unique=True, batch_tokens=batch_tokens)
    expected = run(whole, predictor, tmp_path / "a")
    assert sum(row.tries - 1 for row in expected) > 3
    assert sequences(run(small, predictor, tmp_path / "b")) == sequences(expected)


def test_unique_remembers_what_an_interrupted_run_had_made(tmp_path: Path) -> None:
    predictor = exact_predictor(2)
    request = request_of(predictor.vocabulary, [2] * 8, unique=True, batch_tokens=32)
    whole = run(request, predictor, tmp_path / "whole")
    lines = (tmp_path / "whole").read_bytes().splitlines(keepends=True)
    (tmp_path / "cut").write_bytes(b"".join(lines[:3]))
    partial = continue_partial(tmp_path / "cut", {})
    assert run(request, predictor, tmp_path / "cut", partial) == whole


def test_what_cannot_be_unique_fails_after_the_last_try(tmp_path: Path) -> None:
    predictor = exact_predictor(1)
    rows = run(request_of(predictor.vocabulary, [1] * 4, unique=True), predictor, tmp_path / "p")
    failed = [row for row in rows if row.failure is not None]
    assert len(failed) >= 1, "only three sequences of one token exist"
    assert all(row.tries == MAX_TRIES == row.denoiser_calls for row in failed)
    assert all(row.failure == "the same as another" for row in failed)


def test_a_rule_is_applied_to_every_try(tmp_path: Path) -> None:
    predictor = toy_network()
    seen: list[list[int]] = []

    def no_token_zero(record: int, ids: list[int]) -> str | None:
        assert 0 <= record < 30
        seen.append(ids)
        return "holds token 0" if 0 in ids else None

    request = request_of(predictor.vocabulary, [4] * 30, rule=no_token_zero)
    rows = run(request, predictor, tmp_path / "p")
    assert any(row.tries > 1 and row.failure is None for row in rows)
    assert all((0 in row.ids) == (row.failure is not None) for row in rows)
    assert len(seen) >= sum(row.tries for row in rows)


class SmallMemory(EsmDenoiser):
    """Runs out of memory, as a GPU does, above `limit` tokens."""

    limit = 40

    def logits_at(self, tokens: Tensor, *more: Tensor) -> Tensor:
        if tokens.numel() > self.limit:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return super().logits_at(tokens, *more)


def test_batches_are_halved_where_memory_runs_out(tmp_path: Path) -> None:
    predictor = toy_network()
    small = SmallMemory(predictor.denoiser.settings).double().eval()
    small.load_state_dict(predictor.denoiser.state_dict())
    lengths = [16, 3, 9, 12, 15, 30, 60]
    request = request_of(predictor.vocabulary, lengths, batch_tokens=200)
    roomy = run(request, predictor, tmp_path / "roomy")
    tight = run(request, Predictor(small, predictor.vocabulary), tmp_path / "tight")
    assert tight[:6] == roomy[:6], "results keep their keys"
    assert tight[6].failure == "out of memory, even alone"
    assert tight[6].ids == [predictor.vocabulary.mask_id] * 60


def test_the_estimate_is_said_before_the_first_batch(tmp_path: Path) -> None:
    predictor = toy_network()
    request = request_of(predictor.vocabulary)
    said = io.StringIO()
    with redirect_stderr(said):
        engine = build_engine(predictor, ancestral)
        run_request(request, engine, start_partial(tmp_path / "p", {}))
    # How long is a matter of the machine: only the form is tested.
    assert re.match(
        r"About [\w. ]+ for 20 sequences in \d+ batches, 3\.\d calls each", said.getvalue()
    )
    assert "\x1b" not in said.getvalue(), "no progress bar where there is no terminal"


@pytest.mark.parametrize("text", ["0/4", "5/4", "2", "a/b", "-1/3", "1/0", "1/2/3", ""])
def test_shards_without_sense_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="--shard"):
        parse_shard(text)


def test_a_shard_is_parsed() -> None:
    assert parse_shard("2/8") == Shard(2, 8)
    assert parse_shard(None) == Shard(1, 1)
