"""The paths of attention against each other: what they compute, how fast, in how much memory.

Each path is one network with the same weights under autocast. Its error is the distance of its
logits, and of two gradients, from those of padded rows in float32, relative to their size: a path
may stray as far as padded rows in half precision do, and no further.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.gpu.runner import Bench, Row, Rows, measured
from benchmarks.speed.alternate import alternate
from benchmarks.speed.layouts import LAYOUTS
from benchmarks.speed.plan import MIXED
from didi_core.data.batches import bucket_width, padding_mask
from didi_core.models.attention import attention_backend
from didi_core.models.denoiser import Denoiser
from didi_core.models.packed_attention import attention_path, fault_of, is_installed

PADDED = "padded"
KERNELS = ("flash", "varlen")
MASKED = 0.5
NO_FURTHER = 1.5
"""A path passes whose errors are at most so many times those of padded rows."""


def attention(bench: Bench) -> Rows:
    """Compare all paths that are there, on rows of mixed lengths and on full ones."""
    if bench.device.type == "cuda":
        yield from measured({name: partial(_kernel, name, bench) for name in KERNELS})
    mixed = MIXED if not bench.dry else (5, 14)
    text = (1024, 1024) if not bench.dry else (16, 16)
    rows = 16 if not bench.dry else 3
    cells = {
        "150m, mixed lengths": ("150m", mixed, rows),
        "dit-169m, mixed lengths": ("dit-169m", mixed, rows),
        "dit-169m, full rows": ("dit-169m", text, rows // 2),
        "650m, mixed lengths": ("650m", mixed, rows),
    }
    yield from measured({name: partial(_compared, *cell, bench) for name, cell in cells.items()})


def _kernel(name: str, bench: Bench) -> Row:
    """Say whether a kernel runs here, by width of its heads."""
    if not is_installed(name):
        return {"skipped": f"{name} is not installed"}
    widths = (16, 32, 64, 128)
    faults = {w: fault_of(name, bench.device, torch.bfloat16, w) for w in widths}
    row: Row = {str(width): fault or "runs" for width, fault in faults.items()}
    return row | ({"error": "a kernel that is installed fails"} if any(faults.values()) else {})


def _compared(layout: str, lengths: tuple[int, int], rows: int, bench: Bench) -> Row:
    if bench.dry:
        layout = "dit-small" if layout.startswith("dit") else "esm-small"
    network = _without_zeros(LAYOUTS[layout].build()).to(bench.device)
    batch = _batch(network, lengths, rows, bench.device)
    paths = _paths(bench)
    half = bench.precision == "bf16"
    with attention_path(PADDED):
        exact = _outcome(network, batch, half=False)
    errors = {}
    for path in paths:
        with attention_path(path):
            errors[path] = _errors(_outcome(network, batch, half=half), exact)
    allowed = {name: max(NO_FURTHER * each, 1e-5) for name, each in errors[PADDED].items()}
    agree = all(found[name] <= allowed[name] for found in errors.values() for name in allowed)
    row: Row = {
        "usual_path": attention_backend(bench.device, torch.bfloat16 if half else torch.float32),
        "share_of_padding": 1 - float(batch[1].sum()) / batch[0].numel(),
        "errors": errors,
        "forward": _timed(partial(_forward, network, batch, half), paths, bench),
        "training": _timed(partial(_outcome, network, batch, half), paths, bench),
    }
    return row if agree else row | {"error": "a path strays further than padded rows do"}


def _paths(bench: Bench) -> list[str]:
    if bench.device.type == "cpu":
        return [PADDED, "reference"]
    return [PADDED, *(name for name in KERNELS if is_installed(name))]


def _batch(
    network: Denoiser, lengths: tuple[int, int], rows: int, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Return random tokens [rows, width], lengths [rows], and where half of them are masked."""
    generator = torch.Generator().manual_seed(0)
    sizes = torch.linspace(*lengths, rows).long()
    shape = (rows, bucket_width(lengths[1]))
    tokens = torch.randint(4, 24, shape, generator=generator)
    masked = (torch.rand(shape, generator=generator) < MASKED) & padding_mask(sizes, shape[1])
    tokens = tokens.masked_fill(masked, network.settings.mask_id)
    return tokens.to(device), sizes.to(device), masked.to(device)


def _without_zeros(network: Denoiser) -> Denoiser:
    """Draw what a fresh network has at zero: zeros agree with anything."""
    generator = torch.Generator().manual_seed(1)
    for parameter in network.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.02, generator=generator)
    return network


def _outcome(network: Denoiser, batch: tuple[Tensor, ...], half: bool) -> dict[str, Tensor]:
    """Return logits at the masks, and gradients of their mean square."""
    network.zero_grad()
    with torch.autocast(batch[0].device.type, torch.bfloat16, enabled=half):
        logits = network.logits_at(*batch)
    logits.float().square().mean().backward()
    first: Any = network.blocks[0]
    gradients = {"embedding": network.embedding.weight.grad, "qkv": first.qkv.weight.grad}
    return {"logits": logits.detach().float(), **{n: g.clone() for n, g in gradients.items()}}


@torch.no_grad()
def _forward(network: Denoiser, batch: tuple[Tensor, ...], half: bool) -> Tensor:
    with torch.autocast(batch[0].device.type, torch.bfloat16, enabled=half):
        return network.logits_at(*batch)


def _errors(found: dict[str, Tensor], exact: dict[str, Tensor]) -> dict[str, float]:
    return {name: float((found[name] - x).norm() / x.norm()) for name, x in exact.items()}


def _timed(run: Callable[[], object], paths: Sequence[str], bench: Bench) -> Row:
    """Time all paths in turns; ratios above 1 say how many times faster than padded rows."""

    def by(path: str) -> None:
        with attention_path(path):
            run()

    contestants = {path: partial(by, path) for path in paths}
    timed = alternate(contestants, 1 if bench.dry else 7, bench.device)
    record = timed.record([(PADDED, path) for path in paths if path != PADDED])
    return {name: record[name] for name in ("seconds", "ratios", "peak_bytes", "out_of_memory")}
