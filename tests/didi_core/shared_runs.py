"""Short trainings in float64 that one process or several do, and what came out of them.

As a program (`python shared_runs.py OUT STRATEGY GIVEN`, under torchrun's environment) the first
process writes the outcome to OUT as JSON. All of them resume the run in the folder GIVEN, and begin
one in OUT's folder that others may resume.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from lightning.fabric import Fabric
from tiny_models import FRAMED, randomise, timed_esm, tiny_corpus, tiny_denoiser

from didi_core.cli.run import leave
from didi_core.commands.training.pretrain import once_on
from didi_core.data.corpus import CorpusBatches
from didi_core.diffusion.absorbing import AbsorbingProcess
from didi_core.distill.contrast import ContrastSettings, ContrastStudent, WeakTraining
from didi_core.distill.dcd import ConsistencyDistillation, DcdSettings
from didi_core.distill.didi import DidiInstruct
from didi_core.distill.didi_settings import DidiSettings
from didi_core.distill.dmmd import DmmdSettings, MomentMatching
from didi_core.distill.dmmd_uniform import DmmdUniformSettings, UniformMomentMatching
from didi_core.distill.joint_head import JointHeadSettings, WithJointHead, train_head
from didi_core.distill.method import Method
from didi_core.distill.mmd import MmdSettings, RepresentationMmd
from didi_core.distill.optimizers import OptimizerSettings
from didi_core.distill.reference import GroupedReference
from didi_core.distill.sdtt import SdttSettings, SelfDistillation
from didi_core.errors import Terminated
from didi_core.models.noise import NoiseSettings
from didi_core.models.sharding import is_sharded
from didi_core.training.devices import build_fabric
from didi_core.training.diffusion_pretraining import DiffusionPretraining
from didi_core.training.loop import LoopSettings, train
from didi_core.training.pace import planned_steps
from didi_core.training.patience import Patience

RATE = OptimizerSettings(lr=1e-2, warmup_steps=1)
STEPS = 5
BEGUN = 3
"""Updates of a run that others resume."""


def pretraining() -> Method:
    # Ten records in batches of three: each epoch ends with a batch of one, too few for two.
    data = CorpusBatches(tiny_corpus(10), FRAMED, tokens_per_batch=48, max_length=20, seed=2)
    process = AbsorbingProcess(FRAMED.mask_id)
    return DiffusionPretraining(tiny_denoiser(1, torch.float64), data, process, RATE, 0.5, seed=2)


def reference(group_size: int, num_rows: int) -> GroupedReference:
    return GroupedReference(tiny_corpus(30), FRAMED, group_size, 16 * num_rows, 20, seed=1)


def didi(num_rows: int = 12) -> Method:
    settings = DidiSettings(student=RATE, discriminator=RATE, ema=0.5)
    # Three groups: one process has two of them, the other one.
    teacher = tiny_denoiser(1, torch.float64)
    return DidiInstruct(teacher, FRAMED, reference(4, num_rows), settings, 3)


def dmmd(num_rows: int = 3) -> Method:
    # Long steps and short sequences: often one process has no position left to compare.
    settings = DmmdSettings(
        student=RATE, auxiliary=RATE, student_steps=2, start_share=0.0, auxiliary_updates=2, ema=0.5
    )
    teacher = tiny_denoiser(1, torch.float64)
    method = MomentMatching(teacher, FRAMED, reference(1, num_rows), settings, 3)
    # As a copy of the teacher it would begin with gradients of rounding errors, which Adam scales
    # up to the size of others.
    randomise(method.auxiliary.module, seed=5)
    return method


def noisy_didi() -> Method:
    noise = NoiseSettings("position", 4, 0.5)
    settings = DidiSettings(
        student=RATE, discriminator=RATE, ema=0.5, noise=noise, coupled_time=False
    )
    return DidiInstruct(tiny_denoiser(1, torch.float64), FRAMED, reference(4, 12), settings, 3)


def own_states() -> Method:
    noise = NoiseSettings("sequence", 4, 0.5)
    settings = DmmdSettings(student=RATE, auxiliary=RATE, own_share=0.5, noise=noise, ema=0.5)
    return MomentMatching(tiny_denoiser(1, torch.float64), FRAMED, reference(1, 5), settings, 3)


def renoised() -> Method:
    settings = DmmdSettings(
        student=RATE, auxiliary=RATE, renoise=True, coupled_time=False, soft_target=False, ema=0.5
    )
    method = MomentMatching(tiny_denoiser(1, torch.float64), FRAMED, reference(1, 3), settings, 3)
    randomise(method.auxiliary.module, seed=5)
    return method


def mmd() -> Method:
    # One or two rows a process: in short ones often nothing takes part.
    settings = MmdSettings(student=RATE, reveal_exponent=0.5, ema=0.5)
    return RepresentationMmd(tiny_denoiser(1, torch.float64), FRAMED, reference(1, 3), settings, 3)


def start_anchor() -> Method:
    # One row a process: often one of them has a start and the other none.
    settings = DmmdSettings(
        student=RATE, auxiliary=RATE, start_share=0.4, start_anchor=1.0, ema=0.5
    )
    method = MomentMatching(tiny_denoiser(1, torch.float64), FRAMED, reference(1, 2), settings, 3)
    randomise(method.auxiliary.module, seed=5)
    return method


def sdtt() -> Method:
    settings = SdttSettings(student=RATE, student_steps=2, rounds=2, ema=0.5)
    return SelfDistillation(tiny_denoiser(1, torch.float64), FRAMED, reference(1, 3), settings, 3)


def dcd() -> Method:
    settings = DcdSettings(rounds=2, first_step=0.25, student=RATE, ema=0.5)
    return ConsistencyDistillation(timed_esm(1).double(), FRAMED, reference(1, 3), settings, 3)


def dmmd_uniform() -> Method:
    settings = DmmdUniformSettings(student=RATE, auxiliary=RATE, student_steps=2, ema=0.5)
    teacher = timed_esm(1).double()
    method = UniformMomentMatching(teacher, FRAMED, reference(1, 3), settings, 3)
    randomise(method.auxiliary.module, seed=5)
    return method


def contrast() -> Method:
    # Two updates of the weak network, three of the student.
    settings = ContrastSettings(
        student=RATE, weak_optimizer=RATE, weak="online", weak_steps=2, student_steps=2, ema=0.5
    )
    return ContrastStudent(tiny_denoiser(1, torch.float64), FRAMED, reference(1, 3), settings, 3)


def weak_network() -> Method:
    settings = ContrastSettings("two", weak_optimizer=RATE, weak_steps=2, weak_ema=0.5)
    return WeakTraining(tiny_denoiser(1, torch.float64), FRAMED, reference(1, 3), settings, 3)


def joint_head() -> Method:
    settings = JointHeadSettings(RATE, ema=0.5)
    return train_head(tiny_denoiser(1, torch.float64), FRAMED, reference(1, 3), settings, 3)


def head_beside() -> Method:
    return WithJointHead(own_states(), FRAMED, JointHeadSettings(RATE, ema=0.5), 3)


def in_passes(build: Callable[..., Method], *arguments: int) -> Callable[[], Method]:
    """The method with one row or group of four in each pass."""

    def built() -> Method:
        method: Any = build(*arguments)
        passes = method.passes if hasattr(method, "passes") else method.reference.passes
        passes.tokens = 1
        return method

    return built


METHODS = {
    "pretrain": pretraining,
    "didi": didi,
    "dmmd": dmmd,
    "didi with noise": noisy_didi,
    "own states": own_states,
    "renoised": renoised,
    "mmd": mmd,
    "start anchor": start_anchor,
    "sdtt": sdtt,
    "dcd": dcd,
    "dmmd-uniform": dmmd_uniform,
    "contrast": contrast,
    "weak network": weak_network,
    "joint head": joint_head,
    "head beside": head_beside,
}


IN_PASSES = {
    "pretrain in passes": in_passes(pretraining),
    # Six groups, three in each of two processes; four rows, two in each.
    "didi in passes": in_passes(didi, 24),
    "dmmd in passes": in_passes(dmmd, 4),
}
"""Updates that several processes share, each in passes of its own."""


RESUMED = ("didi", "dcd", "contrast", "head beside")
"""With all that a checkpoint holds: networks with optimisers, averages, a round's teacher."""


class Begun:
    """A method that is interrupted in the last of its first `BEGUN` steps."""

    def __init__(self, inner: Method) -> None:
        self.inner = inner

    def step(self, step: int, steps: int) -> dict[str, float]:
        if step == BEGUN - 1:
            os.kill(os.getpid(), signal.SIGINT)
        return self.inner.step(step, steps)

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)


class StoppedAt:
    """A method during whose third step the last process gets a SIGTERM."""

    def __init__(self, inner: Method, fabric: Fabric) -> None:
        self.inner, self.last = inner, fabric.global_rank == fabric.world_size - 1

    def step(self, step: int, steps: int) -> dict[str, float]:
        if step == 2 and self.last:
            os.kill(os.getpid(), signal.SIGTERM)
        return self.inner.step(step, steps)

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)


def weights_of(method: Method, fabric: Fabric) -> list[float]:
    """All weights of the result, on the first process."""
    result = method.result()
    if not fabric.is_global_zero:
        return []
    return torch.cat([p.detach().flatten() for p in result.parameters()]).tolist()


def begin(name: str, folder: Path, fabric: Fabric) -> None:
    """The first updates of a method of `METHODS`, and their checkpoint in `folder`."""
    method = Begun(METHODS[name]())
    with suppress(KeyboardInterrupt):
        train(method, LoopSettings(steps=STEPS), folder, fabric, None)


def resume(name: str, folder: Path, fabric: Fabric) -> list[float]:
    """Weights of the run in `folder`, taken to its end."""
    method = METHODS[name]()
    assert train(method, LoopSettings(steps=STEPS), folder, fabric, None) == STEPS
    return weights_of(method, fabric)


def outcome(fabric: Fabric) -> dict[str, object]:
    """Figures of every step and final weights of each method, and where runs stopped."""
    torch.set_num_threads(1)
    found: dict[str, object] = {"world_size": fabric.world_size}
    for name, build in {**METHODS, **IN_PASSES}.items():
        method = build()
        method.setup(fabric)
        figures = [method.step(step, STEPS) for step in range(STEPS)]
        found[name] = {"figures": figures, "weights": weights_of(method, fabric)}
        found["sharded"] = is_sharded(method.sampled())
    with TemporaryDirectory() as folder:
        limit = LoopSettings(steps=50, max_seconds=1e-9)
        found["out of time"] = train(pretraining(), limit, Path(folder), fabric, None)
        fabric.barrier()
    with TemporaryDirectory() as folder:
        limit = LoopSettings(steps=4, max_seconds=1e6)
        found["in time"] = train(pretraining(), limit, Path(folder), fabric, None)
        fabric.barrier()
    with TemporaryDirectory() as folder:
        method = pretraining()
        patience = Patience(2, method.ema)
        # What a later process finds in the third look would let it go on.
        losses = iter([3.0, 2.0, 2.5 - fabric.global_rank, 2.1, 1.0, 1.0])
        found["patience"] = {
            "updates": train(
                method,
                LoopSettings(steps=6, validate_every=1),
                Path(folder),
                fabric,
                lambda: {"loss": next(losses)},
                patience,
            ),
            "best": patience.best_step,
            "weights": weights_of(method, fabric),
        }
        fabric.barrier()
    split = once_on(fabric)(lambda: fabric.global_rank + 7)
    found["first's answer"] = float(fabric.all_reduce(torch.tensor(float(split))))
    found["planned"] = planned_steps(5, 100, 1.0 + fabric.global_rank, 10.0, fabric)
    with TemporaryDirectory() as folder:
        try:
            stopped = StoppedAt(pretraining(), fabric)
            train(stopped, LoopSettings(steps=50), Path(folder), fabric, None)
        except Terminated:
            names = [path.name for path in Path(folder).glob("checkpoints/*")]
            found["stopped"] = names
        fabric.barrier()
    return found


if __name__ == "__main__":
    out, strategy, given = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    launched = build_fabric("cpu", "float32", strategy=strategy)
    result = outcome(launched)
    result["resumed"] = {each: resume(each, given / each, launched) for each in RESUMED}
    for each in RESUMED:
        begin(each, out.parent / each, launched)
    if launched.is_global_zero:
        out.write_text(json.dumps(result))
    leave(0)
