"""The memory plan against real allocations: states exact, activations near."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from shared_runs import METHODS
from tiny_models import (
    MASK,
    cpu_fabric,
    randomise,
    remembered_and_gradients,
    timed_esm,
    tiny_denoiser,
)
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from didi_core.cli.hydra_app import compose_settings
from didi_core.commands.training.memory import memory_line
from didi_core.distill.method import Network
from didi_core.distill.optimizers import OptimizerSettings
from didi_core.models.denoiser import time_input
from didi_core.models.dit import DitDenoiser, DitSettings
from didi_core.models.esm import EsmDenoiser, EsmSettings
from didi_core.models.recompute import checkpoint_activations
from didi_core.training.memory_plan import (
    GIB,
    ParallelConfig,
    activation_bytes,
    alternatives,
    block_bytes_per_token,
    plan_memory,
)
from didi_core.training.time_plan import TimePlan, forward_operations, update_operations
from didi_protein.distill import distill
from didi_protein.pretrain import pretrain
from didi_protein.settings import DistillSettings, PretrainSettings


def deep_dit() -> DitDenoiser:
    return DitDenoiser(DitSettings(7, 8, 64, 4, MASK, conditioning_size=16))


def held(tensors: list[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


@pytest.mark.parametrize("name", METHODS)
def test_states_are_those_allocated_by_a_step(name: str) -> None:
    method = METHODS[name]()
    plan = plan_memory(method.networks(), 64, method.graphs, ParallelConfig())
    method.setup(cpu_fabric())
    for step in range(3):
        method.step(step, 3)
    found = {each.name: each for each in plan.networks}
    assert any(name.endswith("average") for name in found)
    for network in method.networks():
        planned = found[network.name]
        module = network.module
        assert planned.weights == held([*module.parameters(), *module.buffers()])
        if network.optimizer is None:
            assert (planned.gradients, planned.optimizer) == (0, 0)
            continue
        assert planned.gradients == held(
            [p.grad for p in module.parameters() if p.grad is not None]
        )
    for name, trained in getattr(method, "_trained", {}).items():
        moments = [
            tensor
            for optimizer in trained.optimizers
            for state in optimizer.state.values()
            for tensor in state.values()
            if tensor.ndim  # not the count of steps
        ]
        assert found[name].optimizer == held(moments)


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize(
    "build",
    [
        lambda: tiny_denoiser(num_layers=8, width=64),
        lambda: timed_esm(num_layers=8, width=64),
        deep_dit,
    ],
)
def test_activations_are_near_what_is_remembered(
    build: Callable[[], nn.Module], again: bool
) -> None:
    network = build()
    randomise(network, seed=4)
    tokens = torch.randint(3, MASK, (2, 64), generator=torch.Generator().manual_seed(0))
    if again:
        checkpoint_activations(network)
    real, _ = remembered_and_gradients(network, tokens)
    sharing = ParallelConfig(checkpoint_activations=again)
    planned = activation_bytes(network, tokens.numel(), sharing)
    # The block that is computed again is remembered in the backward pass alone.
    later = tokens.numel() * block_bytes_per_token(network, "float32") if again else 0
    assert planned - later == pytest.approx(real, rel=0.2)


@pytest.mark.parametrize("build", [lambda: tiny_denoiser(num_layers=3, width=64), deep_dit])
def test_operations_are_those_that_torch_counts(build: Callable[[], nn.Module]) -> None:
    network, tokens = build(), torch.full((4, 64), 3)
    every = torch.ones_like(tokens, dtype=torch.bool)
    told = time_input(network, torch.full((4,), 0.5))
    # The fused kernel of a processor is not counted.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        network.logits_at(tokens, torch.full((4,), 64), every, **told)
    planned = forward_operations(network, tokens.numel(), length=64)
    assert planned == pytest.approx(counter.get_total_flops(), rel=0.03)
    student, teacher = Network("student", network, OptimizerSettings()), Network("teacher", network)
    networks = [teacher, student, Network("average", network)]
    assert update_operations(networks, 256, 64, graphs=2, again=False) == 7 * planned
    assert update_operations(networks, 256, 64, graphs=2, again=True) == 9 * planned
    assert update_operations(networks, 256, 64, graphs=2, again=True, repeated=2) == 11 * planned
    plan = TimePlan(operations=8e12, updates=100, rate=1e12, processes=4)
    assert plan.seconds == pytest.approx(8 * 100 / 0.4 / 4)


def published(layers: int, width: int, heads: int) -> EsmDenoiser:
    settings = EsmSettings(33, layers, width, heads, 4 * width, mask_id=32)
    with torch.device("meta"):
        return EsmDenoiser(settings)


def test_three_billion_parameters_need_two_gpus_in_shards() -> None:
    network = published(36, 2560, 40)
    update = OptimizerSettings()
    networks = [
        Network("teacher", network),
        Network("student", network, update),
        Network("auxiliary", network, update),
        Network("average", network),
    ]
    size = sum(p.numel() for p in network.parameters())
    assert size == pytest.approx(2.84e9, rel=0.01)
    one = plan_memory(networks, 4096, 2, ParallelConfig())
    # Four copies, two gradients, two pairs of moments, in float32.
    assert one.states == 4 * size * (4 + 2 + 2 * 2) > 80 * GIB
    two = plan_memory(networks, 4096, 2, ParallelConfig(2, "fsdp", "bf16", True))
    assert two.states == pytest.approx(one.states / 2, rel=1e-6) and two.total < 79 * GIB
    assert plan_memory(networks, 4096, 2, ParallelConfig(2, "ddp")).states == one.states
    totals = [
        each.total for each in alternatives(networks, 4096, 2, ParallelConfig(precision="bf16"))
    ]
    assert len(totals) == 14 and min(totals) == totals[-1]
    assert "too much" in memory_line(one, 80 * GIB)
    assert "too much" not in memory_line(two, 80 * GIB)


def test_the_plan_is_printed_and_nothing_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = compose_settings(
        "distill",
        DistillSettings,
        [
            *("teacher=tiny", "method=didi", f"out={tmp_path}/out", "plan=true", "devices=2"),
            *("strategy=fsdp", "reference=pool", "method.noise.kind=position"),
            "tokens_per_batch=4096",
        ],
    )
    operations = []
    for tokens_per_pass in (None, 4096, 1024):  # DiDi-Instruct rolls out once more for each pass
        distill(replace(settings, tokens_per_pass=tokens_per_pass))
        said = capsys.readouterr().out
        operations.append(float(said.split("About ")[1].split()[0]))
    assert operations[0] == operations[1] < operations[2]
    assert "discriminator" in said
    # A plan may be of a GPU that this machine has not.
    shape = ["data=none.fasta", f"out={tmp_path}/out", "plan=true", "model=150m"]
    shape += ["device=cuda", "precision=auto", "devices=2"]
    pretrain(compose_settings("pretrain", PretrainSettings, shape))
    said = " ".join(capsys.readouterr().out.split())
    assert torch.cuda.is_available() or "said where there is a device=cuda" in said
    assert "2 processes" in said and "activations" in said
    assert not (tmp_path / "out").exists()
