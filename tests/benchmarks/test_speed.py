"""The speed benchmark: its plain forms are right, and its cells resume. No timing decides."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from exact_denoiser import (
    ExactDenoiser,
    Sequence,
    chi_square_p_value,
    draw_sequences,
    k_step_law,
    random_law,
    toy_vocabulary,
)
from tiny_models import FRAMED, MASK, cpu_fabric, randomise, tiny_corpus, tiny_denoiser

from benchmarks.speed import runner
from benchmarks.speed.alternate import alternate
from benchmarks.speed.figures import table, write_figures
from benchmarks.speed.layouts import LAYOUTS
from benchmarks.speed.plain_distill import (
    Step,
    didi_advantage,
    didi_discriminator_loss,
    didi_loss,
    dmmd_losses,
    full_log_probs,
)
from benchmarks.speed.plain_samplers import plain_ancestral, plain_dplm
from benchmarks.speed.plain_steps import plain_didi_step, plain_dmmd_step
from benchmarks.speed.plan import CENTRE, Cell, curve, full, quick
from benchmarks.speed.process_cells import CONTESTANTS, ratios_of
from benchmarks.speed.runner import is_done, run_cells
from benchmarks.speed.sampling_cells import build_priors
from didi_core.data.batches import TokenBatch
from didi_core.distill.didi import DidiInstruct
from didi_core.distill.didi_loss import discriminator_loss
from didi_core.distill.didi_settings import DidiSettings
from didi_core.distill.dmmd import DmmdSettings, MomentMatching, still_masked
from didi_core.distill.matching import auxiliary_loss, matching_loss
from didi_core.distill.reference import GroupedReference
from didi_core.sampling.dplm import DplmSampler
from didi_core.sampling.predictor import Predictor
from didi_core.sampling.request import SampleSettings

CPU = torch.device("cpu")
TOY = toy_vocabulary(3)
LAW = random_law(3, 3, seed=4)
DENOISER = ExactDenoiser([LAW], 3)
COUNT = 20_000


def all_logits(tokens: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    logits = DENOISER.logits_at(tokens, lengths, torch.ones_like(tokens, dtype=torch.bool))
    return logits.view(*tokens.shape, -1)


def drawn(loop: Any, steps: int, **more: bool) -> Counter[Sequence]:
    torch.manual_seed(0)
    tokens = torch.full((COUNT, 3), TOY.mask_id)
    filled = loop(all_logits, tokens, torch.full((COUNT,), 3), TOY, steps, **more)
    sequences, counts = filled.unique(dim=0, return_counts=True)
    return Counter(dict(zip(map(tuple, sequences.tolist()), counts.tolist(), strict=True)))


@pytest.mark.parametrize("cached", [False, True])
def test_plain_ancestral_loop_reaches_the_enumerated_law(cached: bool) -> None:
    law = k_step_law(LAW, 2, 3)
    counts = drawn(plain_ancestral, 2, cached=cached)
    assert chi_square_p_value(counts, law) > 1e-3
    assert chi_square_p_value(drawn(plain_ancestral, 4), law) < 1e-6  # of another law: seen


def test_plain_dplm_loop_has_the_law_of_ours() -> None:
    predictor = Predictor(DENOISER, TOY)
    row = [TOY.mask_id] * 3
    ours = draw_sequences(DplmSampler(predictor), predictor, SampleSettings(3, 1), row, COUNT)
    plain = drawn(plain_dplm, 3)
    common = [each for each in ours | plain if min(ours[each], plain[each]) >= 10]
    assert sum(ours[each] for each in common) > 0.98 * COUNT
    statistic = sum((ours[e] - plain[e]) ** 2 / (ours[e] + plain[e]) for e in common)
    half = torch.tensor([len(common) / 2, statistic / 2], dtype=torch.float64)
    assert float(torch.special.gammaincc(half[0], half[1])) > 1e-3


def reference(group_size: int) -> GroupedReference:
    return GroupedReference(tiny_corpus(30), FRAMED, group_size, 16 * 12, 20, seed=1)


@pytest.fixture
def didi() -> DidiInstruct:
    method = DidiInstruct(tiny_denoiser(1), FRAMED, reference(4), DidiSettings(), 3)
    randomise(method.student.module, seed=5)
    method.setup(cpu_fabric())
    return method


@pytest.fixture
def dmmd() -> MomentMatching:
    method = MomentMatching(tiny_denoiser(1), FRAMED, reference(1), DmmdSettings(), 3)
    for number, network in enumerate((method.student, method.auxiliary)):
        randomise(network.module, seed=5 + number)
    method.setup(cpu_fabric())
    return method


def gradient(loss: torch.Tensor, network: torch.nn.Module) -> torch.Tensor:
    found = torch.autograd.grad(loss, list(network.parameters()), allow_unused=True)
    return torch.cat([each.flatten() for each in found if each is not None])


def test_plain_didi_loss_is_ours(didi: DidiInstruct) -> None:
    drawn_reference = didi.reference.batch(2)
    batch, rows = drawn_reference.batch, drawn_reference.rows
    tau = didi.times.draw(2, rows)
    reverse = didi.roll_out(batch, rows, tau, 2)
    fake = didi.mask_at(batch.with_tokens(reverse[-1].after), tau, rows, 2, side=0)
    advantage = didi.judge(batch, fake).advantage
    ours, _ = didi.student_loss(batch, reverse, advantage, tau)
    networks = (didi.student.module, didi.teacher)
    student, teacher = (full_log_probs(each, batch.lengths, FRAMED) for each in networks)
    steps = [Step(each.before, each.after) for each in reverse]
    weight = didi.times.weight(tau)
    settings = didi.settings
    plain = didi_loss(settings, batch, steps, advantage, weight, (student, teacher), MASK)
    torch.testing.assert_close(plain, ours, rtol=1e-5, atol=1e-5)
    found = [gradient(loss, didi.student.module) for loss in (plain, ours)]
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


def test_plain_judgement_is_ours(didi: DidiInstruct) -> None:
    drawn_reference = didi.reference.batch(3)
    batch, rows = drawn_reference.batch, drawn_reference.rows
    tau = torch.full((len(rows),), 0.97)
    real, fake = (didi.mask_at(batch, tau, rows, 3, side) for side in (1, 0))
    judge = didi.discriminator.module.eval()  # training moves the spectral norm at every call
    everywhere = torch.ones_like(batch.maskable)
    logits = [
        judge.logits_at(state.tokens, batch.lengths, everywhere).view_as(batch.tokens)
        for state in (real, fake)
    ]
    masked = (real.masked, fake.masked)
    plain = didi_discriminator_loss(*logits, masked, 0.1)
    chosen = [each[where] for each, where in zip(logits, masked, strict=True)]
    ours = discriminator_loss(*chosen, 0.1)
    torch.testing.assert_close(plain, ours, rtol=1e-5, atol=1e-6)
    assert fake.masked.any(-1).all()  # ours leaves a row without masks out of its group
    advantage = didi.judge(batch, fake).advantage
    found = didi_advantage(logits[1], fake.masked, didi.settings)
    torch.testing.assert_close(found, advantage, rtol=1e-4, atol=1e-4)


def test_plain_dmmd_losses_are_ours(dmmd: MomentMatching) -> None:
    drawn_reference = dmmd.reference.batch(0)
    batch, rows = drawn_reference.batch, drawn_reference.rows
    t, s = dmmd.draw_times(0, rows)
    reverse = dmmd.student_step(batch, rows, t, s, 0)
    still = still_masked(reverse)
    row = still.at.nonzero()[:, 0]
    assert len(row) > 10
    teacher = dmmd.teacher_log_probs(reverse.after, batch.lengths, still.at)
    predictor = Predictor(dmmd.auxiliary, FRAMED)
    auxiliary = predictor.log_probs(reverse.after, batch.lengths, still.at)
    student = reverse.log_probs[still.among]
    ours = (
        auxiliary_loss(auxiliary, student.detach(), teacher, None, 0.0),
        matching_loss(student.exp(), auxiliary.detach() - teacher, dmmd.weight(s)[row]),
    )
    networks = (dmmd.student.module, dmmd.auxiliary.module, dmmd.teacher)
    own, other, expected = (full_log_probs(n, batch.lengths, FRAMED) for n in networks)
    plain = dmmd_losses(
        own(reverse.before),
        other(reverse.after),
        expected(reverse.after).detach(),
        still.at,
        dmmd.weight(s),
    )
    torch.testing.assert_close(plain, ours, rtol=1e-5, atol=1e-5)


def test_plain_steps_train(didi: DidiInstruct, dmmd: MomentMatching) -> None:
    for method, step in ((didi, plain_didi_step), (dmmd, plain_dmmd_step)):
        before = [each.clone() for each in method.student.module.parameters()]
        step(method, 0, 10)
        after = list(method.student.module.parameters())
        assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
        assert all(bool(each.isfinite().all()) for each in after)


def test_contestants_alternate_and_one_without_memory_drops_out() -> None:
    ran: list[str] = []

    def too_large() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    contestants = {"a": lambda: ran.append("a"), "b": lambda: ran.append("b"), "c": too_large}
    ticks = iter(range(100))
    timed = alternate(contestants, 2, CPU, clock=lambda: float(next(ticks)))
    assert ran == ["a", "b", "a", "b", "b", "a"]  # warm-up, a round, a round in reverse
    record = timed.record([("a", "b"), ("c", "a")])
    assert record["ratios"]["a / b"]["median"] == 1.0
    assert record["ratios"]["c / a"] is None and record["out_of_memory"] == ["c"]


def test_plans_name_each_cell_once() -> None:
    for plan in (quick(), full()):
        assert len({cell.key for cell in plan}) == len(plan)
        cells = [{"cell": {**vars(cell), "lengths": list(cell.lengths)}} for cell in plan]
        assert all(len(curve(cells, axis)) >= 3 for axis in CENTRE)
    assert "distill.dit-169m.didi.32x1024-1024" in {cell.key for cell in full()}


SMALL = [
    Cell("step", "esm-small", "ancestral", 2, (5, 9), 2, repeats=1),
    Cell("set", "esm-small", "ancestral", 2, (5, 9), 2, repeats=1, scaling=True),
    Cell("set", "esm-small", "dplm", 2, (5, 9), 2, repeats=1),
    Cell("distill", "esm-small", "dmmd", 2, (9, 9), repeats=1),
    Cell("head", "esm-small", "ancestral", 2, (9, 9), 1, repeats=1),
]


def test_cells_are_resumed_and_a_failed_one_is_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_cells(SMALL, CPU, "float32", tmp_path) == []
    paths = [tmp_path / f"{cell.key}.json" for cell in SMALL]
    records = [json.loads(path.read_text()) for path in paths]
    assert records[0]["work"]["share_of_plain_head"] < 1
    assert records[0]["ratios"]["ours / bare"]["median"] > 0
    assert records[3]["student_tokens_per_second"].keys() == {"ours", "plain"}
    # Of nine tokens drawn in one call, eight are corrected, in one pass of the head or more.
    assert 1 <= records[4]["work"]["head_passes"] <= 8
    assert records[4]["ratios"].keys() == {"joint / plain"}
    write_figures(tmp_path)
    assert (tmp_path / "speed.png").exists()

    def broken(*_: object) -> dict[str, Any]:
        raise RuntimeError("no such kernel")

    monkeypatch.setitem(runner.MEASURES, "set", broken)
    assert run_cells(SMALL, CPU, "float32", tmp_path) == []  # all there: nothing is measured
    paths[1].unlink()
    assert run_cells(SMALL, CPU, "float32", tmp_path) == [SMALL[1].key]
    failed = json.loads(paths[1].read_text())
    assert "no such kernel" in failed["error"] and "no such kernel" in table([failed])
    assert not is_done(paths[1], {"cell": failed["cell"]})  # tried again
    assert not is_done(paths[0], {"precision": "bf16"})  # of other settings


def test_rows_are_as_long_as_asked() -> None:
    priors = build_priors(SMALL[0], LAYOUTS["esm-small"].vocabulary, CPU)
    batch: TokenBatch = priors[0].batch
    assert batch.lengths.tolist() == [7, 11]


def test_ratios_of_processes_are_taken_within_a_round() -> None:
    rounds = {
        name: [{"sampling_seconds": factor * each, "wall_seconds": 1.0} for each in (1.0, 10.0)]
        for name, factor in zip(CONTESTANTS, (6.0, 4.0, 3.0), strict=True)
    }
    found = ratios_of(rounds)
    assert found["one thread / two processes"]["sampling_seconds"]["median"] == pytest.approx(2)
    assert found["two threads / two processes"]["wall_seconds"]["median"] == 1
