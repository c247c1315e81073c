"""Early stopping: when it stops, what it keeps, and that a resumed run does the same."""

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from test_training_loop import Interrupted, flat, pretraining
from tiny_models import cpu_fabric

from didi_core.distill.optimizers import OptimizerSettings
from didi_core.errors import Terminated
from didi_core.training.diffusion_pretraining import DiffusionPretraining
from didi_core.training.loop import LoopSettings, train
from didi_core.training.patience import Patience

CONSTANT = OptimizerSettings(lr=1e-2, warmup_steps=0, decay_fraction=0.0)
LOSSES = [3.0, 2.0, 2.5, 2.0, 2.2, 1.0]
"""Of looks after updates 1, 2, 3, ...; the third after the lowest one is the fifth."""


def losses(values: list[float], done: int = 0) -> Callable[[], dict[str, float]]:
    left: Iterator[float] = iter(values[done:])
    return lambda: {"loss": next(left)}


def run(
    method: DiffusionPretraining,
    folder: Path,
    limit: int,
    done: int = 0,
    stop: int | None = None,
    **changes: object,
) -> tuple[int, Patience]:
    patience = Patience(limit, method.ema)
    settings = LoopSettings(
        **{"steps": 6, "log_every": 1, "validate_every": 1, "checkpoint_every": 2, **changes}
    )
    driven = method if stop is None else Interrupted(method, stop, signal.SIGTERM)
    return train(driven, settings, folder, cpu_fabric(), losses(LOSSES, done), patience), patience


def weights_after(updates: int, folder: Path) -> dict[str, torch.Tensor]:
    """Averaged weights of the same run after so many updates: its rates do not depend on them."""
    method = pretraining(CONSTANT)
    train(method, LoopSettings(steps=updates), folder, cpu_fabric(), None)
    return method.ema.module.state_dict()


def same(one: object, other: object) -> bool:
    first, second = flat(one), flat(other)
    return first.keys() == second.keys() and all(
        torch.equal(first[name], second[name]) for name in first
    )


@pytest.mark.parametrize(("limit", "done", "best"), [(1, 3, 2), (2, 4, 2), (3, 5, 2), (4, 6, 6)])
def test_it_stops_after_so_many_looks_and_keeps_the_best_weights(
    tmp_path: Path, limit: int, done: int, best: int
) -> None:
    method = pretraining(CONSTANT)
    updates, patience = run(method, tmp_path / "run", limit)
    assert (updates, patience.best_step, patience.best) == (done, best, LOSSES[best - 1])
    assert same(method.result().state_dict(), weights_after(best, tmp_path / "plain"))
    lines = [json.loads(each) for each in (tmp_path / "run" / "metrics.jsonl").open()]
    assert [each["best_step"] for each in lines] == [1, 2, 2, 2, 2, 6][:done]


def test_a_resumed_run_stops_where_an_unbroken_one_does(tmp_path: Path) -> None:
    whole = pretraining(CONSTANT)
    run(whole, tmp_path / "whole", 3)
    broken = pretraining(CONSTANT)
    with pytest.raises(Terminated):
        run(broken, tmp_path / "broken", 3, stop=2)
    resumed = pretraining(CONSTANT)
    updates, patience = run(resumed, tmp_path / "broken", 3, done=3)
    assert (updates, patience.best_step, patience.waited) == (5, 2, 3)
    assert same(whole.result().state_dict(), resumed.result().state_dict())
    again = pretraining(CONSTANT)
    assert run(again, tmp_path / "broken", 3, done=5)[0] == 5, "there is nothing left to do"
    assert same(whole.result().state_dict(), again.result().state_dict())
    patient = pretraining(CONSTANT)
    updates, patience = run(patient, tmp_path / "broken", 4, done=5)
    assert (updates, patience.best_step) == (6, 6), "with more patience it goes on"


def test_without_patience_a_run_is_what_it_was(tmp_path: Path) -> None:
    plain, looked = pretraining(), pretraining()
    train(plain, LoopSettings(steps=4), tmp_path / "a", cpu_fabric(), None)
    settings = LoopSettings(steps=4, validate_every=1)
    train(looked, settings, tmp_path / "b", cpu_fabric(), losses(LOSSES))
    names = [path.name for path in (tmp_path / "a" / "checkpoints").iterdir()]
    for name in names:
        one, other = (tmp_path / each / "checkpoints" / name for each in "ab")
        assert one.read_bytes() == other.read_bytes()


def test_a_look_before_the_first_update_counts(tmp_path: Path) -> None:
    method = pretraining(CONSTANT)
    before = {name: each.clone() for name, each in method.ema.module.state_dict().items()}
    patience = Patience(2, method.ema)
    rising = losses([1.0, 2.0, 3.0])
    settings = LoopSettings(steps=9, log_every=9, validate_every=1, first_look=rising)
    assert train(method, settings, tmp_path, cpu_fabric(), rising, patience) == 2
    assert same(before, method.result().state_dict()), "weights that training made worse are kept"
    lines = [json.loads(each) for each in (tmp_path / "metrics.jsonl").open()]
    assert [(each["step"], each["best_step"]) for each in lines] == [(0, 0), (1, 0), (2, 0)]


def test_the_first_process_decides() -> None:
    """On other devices a loss may differ in its last bits: what the first one found counts."""

    class Second:
        world_size = 2

        def broadcast(self, value: float) -> float:
            return {2.0: 2.0, 2.1: 1.9}[value]

    patience = Patience(2, pretraining().ema)
    for step, loss in enumerate((2.0, 2.1)):
        patience.look(step, loss, Second())
    assert (patience.best, patience.best_step, patience.waited) == (1.9, 1, 0)
