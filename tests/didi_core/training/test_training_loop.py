"""The training loop: interrupted runs equal unbroken ones, and what survives what goes wrong."""

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tiny_models import FRAMED, cpu_fabric, tiny_corpus, tiny_denoiser

from didi_core.data.corpus import CorpusBatches
from didi_core.diffusion.absorbing import AbsorbingProcess
from didi_core.diffusion.schedules import LogLinearSchedule
from didi_core.distill.didi import DidiInstruct
from didi_core.distill.didi_settings import DidiSettings
from didi_core.distill.dmmd import DmmdSettings, MomentMatching
from didi_core.distill.method import Method
from didi_core.distill.optimizers import OptimizerSettings
from didi_core.distill.reference import GroupedReference
from didi_core.distill.sdtt import SdttSettings, SelfDistillation
from didi_core.errors import Terminated, UserError
from didi_core.training import loop
from didi_core.training.checkpoints import Checkpoints
from didi_core.training.curricula import CurriculumSettings
from didi_core.training.diffusion_pretraining import DiffusionPretraining
from didi_core.training.loop import LoopSettings, train
from didi_core.training.pace import planned_steps
from didi_core.training.pretraining import BatchShare

RATE = OptimizerSettings(lr=1e-2, warmup_steps=2, decay_fraction=0.5)
STEPS = 7


def pretraining(optimizer: OptimizerSettings = RATE) -> DiffusionPretraining:
    return DiffusionPretraining(
        tiny_denoiser(1),
        CorpusBatches(tiny_corpus(30), FRAMED, 256, 6, seed=2),
        AbsorbingProcess(FRAMED.mask_id, LogLinearSchedule(1e-3)),
        optimizer,
        ema_decay=0.9,
        seed=2,
        curriculum=CurriculumSettings(steps=3),
    )


def didi() -> DidiInstruct:
    reference = GroupedReference(tiny_corpus(30), FRAMED, 4, 256, 20, seed=1)
    settings = DidiSettings(student=RATE, discriminator=RATE, discriminator_warmup=1)
    return DidiInstruct(tiny_denoiser(1), FRAMED, reference, settings, seed=3)


def dmmd() -> MomentMatching:
    reference = GroupedReference(tiny_corpus(30), FRAMED, 1, 256, 20, seed=1)
    settings = DmmdSettings(student=RATE, auxiliary=RATE, auxiliary_updates=2)
    return MomentMatching(tiny_denoiser(1), FRAMED, reference, settings, seed=3)


METHODS: dict[str, Callable[[], Method]] = {"pretrain": pretraining, "didi": didi, "dmmd": dmmd}


class Interrupted:
    """A method during whose step number `at` a signal arrives."""

    def __init__(self, inner: Method, at: int, signum: int) -> None:
        self.inner, self.at, self.signum = inner, at, signum

    def step(self, step: int, steps: int) -> dict[str, float]:
        if step == self.at:
            os.kill(os.getpid(), self.signum)
        return self.inner.step(step, steps)

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)


def run(method: Method, folder: Path, **settings: object) -> int:
    limits = LoopSettings(**{"steps": STEPS, "log_every": 1, "checkpoint_every": 2, **settings})
    return train(method, limits, folder, cpu_fabric(), validate=None)


def flat(state: object, name: str = "") -> dict[str, object]:
    """A nested state as one level."""
    if isinstance(state, dict):
        return {k: v for key, item in state.items() for k, v in flat(item, f"{name}/{key}").items()}
    if isinstance(state, (list, tuple)):
        return flat(dict(enumerate(state)), name)
    return {name: state}


def assert_same_state(first: Method, second: Method) -> None:
    one, other = flat(first.state_dict()), flat(second.state_dict())
    assert one.keys() == other.keys()
    for name, value in one.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, other[name]), name
        else:
            assert value == other[name], name


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(
    ("signum", "error"), [(signal.SIGTERM, Terminated), (signal.SIGINT, KeyboardInterrupt)]
)
def test_an_interrupted_run_equals_an_unbroken_one(
    tmp_path: Path, name: str, signum: int, error: type[BaseException]
) -> None:
    unbroken = METHODS[name]()
    assert run(unbroken, tmp_path / "unbroken") == STEPS

    broken, folder = METHODS[name](), tmp_path / "broken"
    handler = signal.getsignal(signum)
    with pytest.raises(error):
        run(Interrupted(broken, 4, signum), folder)
    assert signal.getsignal(signum) is handler, "the program's own handling is put back"
    names = [path.name for path in sorted((folder / "checkpoints").iterdir())]
    assert names == ["step_00000004.safetensors", "step_00000005.safetensors"]

    resumed = METHODS[name]()
    assert run(resumed, folder) == STEPS
    assert_same_state(unbroken, resumed)
    logs = [(tmp_path / f / "metrics.jsonl").read_text() for f in ("unbroken", "broken")]
    assert logs[0] == logs[1]
    assert [json.loads(line)["step"] for line in logs[0].splitlines()] == [*range(1, STEPS + 1)]
    assert run(METHODS[name](), folder) == STEPS, "a finished run has nothing left to do"


def test_a_damaged_checkpoint_is_passed_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unbroken = pretraining()
    run(unbroken, tmp_path / "a")
    run(pretraining(), tmp_path / "b", steps=4)  # the rate's decay ends elsewhere
    with pytest.raises(Terminated):
        run(Interrupted(pretraining(), 5, signal.SIGTERM), tmp_path / "c")
    newest = tmp_path / "c" / "checkpoints" / "step_00000006.safetensors"
    newest.write_bytes(newest.read_bytes()[:-100])
    resumed = pretraining()
    capsys.readouterr()
    run(resumed, tmp_path / "c")
    said = capsys.readouterr().err
    assert newest.name in said and "Falling back" in said
    assert_same_state(unbroken, resumed)


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    run(dmmd(), tmp_path, steps=2)
    for other in (didi, pretraining):
        with pytest.raises(UserError, match=r"resume=true: .*another model or method"):
            run(other(), tmp_path)
    wider = dmmd()
    wider.student.module.head_dense = torch.nn.Linear(8, 9)
    with pytest.raises(UserError, match="another model or method"):
        run(wider, tmp_path)


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    # The first updates are small; then the rate is such that float32 overflows.
    wild = OptimizerSettings(lr=1e30, warmup_steps=1)
    with pytest.raises(UserError, match=r"stopped at step \d+: .* not finite.* none yet"):
        run(pretraining(wild), tmp_path / "wild", checkpoint_every=100)

    folder = tmp_path / "late"
    with pytest.raises(Terminated):
        run(Interrupted(pretraining(), 2, signal.SIGTERM), folder)
    with pytest.raises(UserError, match=r"last good checkpoint: step 3 in .*resume=true"):
        run(pretraining(wild), folder, checkpoint_every=100)
    names = [path.name for path in sorted((folder / "checkpoints").iterdir())]
    assert names[-1] == "step_00000003.safetensors", "the bad state was not saved"


def test_a_kill_between_the_last_save_and_its_tidying_leaves_no_checkpoint_more(
    tmp_path: Path,
) -> None:
    run(pretraining(), tmp_path, checkpoint_every=1)
    left = tmp_path / "checkpoints"
    before = {path.name for path in left.iterdir()}
    first = sorted(left.iterdir())[0]
    shutil.copy(first, left / "step_00000001.safetensors")  # as if it had not been removed yet
    run(pretraining(), tmp_path, checkpoint_every=1)
    assert {path.name for path in left.iterdir()} == before


def test_a_limit_of_time_ends_the_run_with_its_state_saved(tmp_path: Path) -> None:
    done = run(pretraining(), tmp_path, max_seconds=1e-9, checkpoint_every=100)
    assert done == 1
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["step_00000001.safetensors"]
    resumed = pretraining()
    assert run(resumed, tmp_path) == STEPS
    unbroken = pretraining()
    run(unbroken, tmp_path / "unbroken")
    assert_same_state(unbroken, resumed)


def test_the_limit_of_time_counts_over_resumptions(tmp_path: Path) -> None:
    with pytest.raises(Terminated):
        run(Interrupted(pretraining(), 2, signal.SIGTERM), tmp_path, max_seconds=1e3)
    spent = Checkpoints(tmp_path).load_latest()["seconds"]
    assert 0 < spent < 1e3
    assert run(pretraining(), tmp_path, max_seconds=spent) == 3, "no time is left"
    assert run(pretraining(), tmp_path, max_seconds=spent + 1e-9) == 4
    assert Checkpoints(tmp_path).load_latest()["seconds"] > spent
    assert run(pretraining(), tmp_path, max_seconds=spent + 1e3) == STEPS


class OneSecondEach:
    """A method whose updates take a second of the clock that `train` reads, the first perhaps more.

    Args:
        first: seconds of the first update.
    """

    def __init__(self, inner: Method, monkeypatch: pytest.MonkeyPatch, first: float = 1.0) -> None:
        self.inner, self.first, self.seconds, self.told = inner, first, 0.0, []
        monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: self.seconds))

    def step(self, step: int, steps: int) -> dict[str, float]:
        self.seconds += self.first if not self.told else 1.0
        self.told.append(steps)
        return self.inner.step(step, steps)

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)


def test_rounds_and_rates_follow_the_time_that_is_spent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Counted by `steps`, which are never reached, a run would stay in its first round."""
    reference = GroupedReference(tiny_corpus(30), FRAMED, 1, 256, 20, seed=1)
    settings = SdttSettings(rounds=3, student=RATE)
    method = OneSecondEach(
        SelfDistillation(tiny_denoiser(1), FRAMED, reference, settings, seed=3), monkeypatch
    )
    assert run(method, tmp_path, steps=10**6, max_seconds=11.5) == 12
    assert method.told == [10**6] * 2 + [12] * 10
    told = capsys.readouterr().err.splitlines()
    assert told[-2].startswith("training: update 12 of about 12  ")
    assert told[-1] == "max_seconds=11.5 ended the training after 12 updates."
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["round"] for line in lines] == [0] * 4 + [1] * 4 + [2] * 4


class Rates(DiffusionPretraining):
    """A pre-training whose learning rates and times are noted."""

    def step(self, step: int, steps: int) -> dict[str, float]:
        figures = super().step(step, steps)
        self.rates.append(self.network.optimizers[0].param_groups[0]["lr"])
        return figures

    def times(self, share: BatchShare) -> torch.Tensor:
        times = super().times(share)
        self.gentle.append(times.min() >= 0.1 and times.max() <= 0.5)
        return times


@pytest.mark.parametrize("timed", [True, False])
def test_a_run_that_time_ends_is_through_its_warm_up_and_its_gentle_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, timed: bool
) -> None:
    rate = OptimizerSettings(lr=1e-2, warmup_steps=4_000, decay_fraction=0.25)
    rates = pretraining(rate)
    rates.__class__, rates.rates, rates.gentle = Rates, [], []
    rates.curriculum = CurriculumSettings(steps=4_000)
    method = OneSecondEach(rates, monkeypatch)
    limit = {"steps": 10_000, "max_seconds": 79.5} if timed else {"steps": 80}
    assert run(method, tmp_path, **limit) == 80
    if timed:  # warm-up: a tenth of the time; gentle start: half; decay: the last quarter
        assert rates.rates[:8] == pytest.approx(
            [1e-2 / 1_000, 2e-2 / 1_000, *(1e-2 * n / 8 for n in range(3, 9))]
        )
        assert rates.rates[8:60] == pytest.approx([1e-2] * 52)
        assert rates.rates[-1] == pytest.approx(1e-2 / 20)
        assert rates.gentle == [True] * 40 + [False] * 40
    else:  # what was asked for is what is done
        assert max(rates.rates) <= 1e-2 * 80 / 4_000 and all(rates.gentle)


@pytest.mark.parametrize(
    ("done", "elapsed", "limit", "expected"),
    [
        (5, 2.0, 0.0, 100),
        (0, 2.0, 8.0, 100),
        (5, 2.0, 8.0, 20),
        (5, 0.1, 8.0, 100),
        (5, 0.0, 8.0, 100),
        (5, 9.0, 8.0, 6),
    ],
)
def test_updates_expected_of_a_limit_of_time(
    done: int, elapsed: float, limit: float, expected: int
) -> None:
    assert planned_steps(done, 100, elapsed, limit, cpu_fabric()) == expected


def test_a_slow_first_update_does_not_count_as_the_pace() -> None:
    """It compiles, say: 60 of 600 seconds; the others take half a second each."""
    planned = [
        planned_steps(done, 10**6, 59.5 + done / 2, 600.0, cpu_fabric(), (min(done, 1), 60.0))
        for done in (1, 2, 20, 1_081)
    ]
    assert planned == [10**6, 1_081, 1_081, 1_082]
    # Resumed after 1,000 updates in 500 seconds: until this process has a pace, that of all.
    assert planned_steps(1_000, 10**6, 500.0, 600.0, cpu_fabric()) == 1_200
    assert planned_steps(1_001, 10**6, 550.0, 600.0, cpu_fabric(), (1_001, 550.0)) == 1_092
    assert planned_steps(1_002, 10**6, 550.5, 600.0, cpu_fabric(), (1_001, 550.0)) == 1_101


def test_a_slow_first_update_does_not_shorten_the_warm_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = pretraining(OptimizerSettings(lr=1e-2, warmup_steps=4_000, decay_fraction=0.25))
    rates.__class__, rates.rates, rates.gentle = Rates, [], []
    rates.curriculum = CurriculumSettings(steps=4_000)
    method = OneSecondEach(rates, monkeypatch, first=40.0)
    assert run(method, tmp_path, steps=10_000, max_seconds=118.5) == 80
    assert max(rates.rates[:2]) <= 2e-2 / 1_000
    assert rates.rates[2:8] == pytest.approx([1e-2 * n / 8 for n in range(3, 9)])
    assert rates.gentle == [True] * 40 + [False] * 40


def test_validation_and_logs_come_when_they_are_due(tmp_path: Path) -> None:
    seen: list[int] = []

    def validate() -> dict[str, float]:
        seen.append(1)
        return {"validation": float(len(seen))}

    loop = LoopSettings(steps=7, log_every=2, validate_every=4, checkpoint_every=100)
    train(pretraining(), loop, tmp_path, cpu_fabric(), validate)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4, 6, 7]
    assert [line.get("validation") for line in lines] == [None, 1.0, None, 2.0]


def test_lines_past_the_checkpoint_are_dropped_on_resume(tmp_path: Path) -> None:
    with pytest.raises(Terminated):
        run(Interrupted(pretraining(), 3, signal.SIGTERM), tmp_path)
    path = tmp_path / "metrics.jsonl"
    path.write_text(path.read_text() + '{"step": 5, "loss": 1.0}\n{"step": 6, "lo')
    run(pretraining(), tmp_path)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["step"] for line in lines] == [*range(1, STEPS + 1)]
    assert lines[4]["loss"] != 1.0
