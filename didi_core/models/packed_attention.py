"""Attention over packed tokens: the rows of a batch one after the other, without padding.

Two kernels of FlashAttention (arXiv 2205.14135, 2307.08691) for CUDA in half precision: that of the
package flash-attn, and `torch.nn.attention.varlen` of torch 2.10 or newer. Each is tried on a few
tokens before it is used, and one that fails or computes something else is left out, with a line
that says so. The reference, a softmax under a block-diagonal mask, runs everywhere: tests and
benchmarks compute with it what the kernels do.
"""

import importlib.util
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from didi_core.progress import say_once

Kernel = Callable[[Tensor, Tensor, Tensor, Tensor, int], Tensor]
"""Query, key, value [tokens, heads, head_dim], starts [rows + 1], longest row to [tokens, heads,
head_dim]."""
WIDEST_HEAD = 256
"""Channels of a head, which FlashAttention takes in multiples of eight."""
PROBE_TOLERANCE = 0.05
"""Largest difference of a kernel's output in half precision from the reference in float32, where
values are of order 1."""


def attend_block_diagonal(
    query: Float[Tensor, "tokens heads head_dim"],
    key: Float[Tensor, "tokens heads head_dim"],
    value: Float[Tensor, "tokens heads head_dim"],
    starts: Int[Tensor, "rows_and_end"],
    longest: int,  # noqa: ARG001 - kernels ask for it
) -> Float[Tensor, "tokens heads head_dim"]:
    """Attend by softmax, each token over the tokens of its own row.

    Args:
        starts: place of the first token of each row, then the number of tokens.
    """
    place = torch.arange(len(query), device=query.device, dtype=starts.dtype)
    row = torch.searchsorted(starts, place, right=True)
    same_row = row[:, None] == row[None, :]
    # [tokens, heads, head_dim] to [heads, tokens, head_dim], and back.
    query, key, value = query.transpose(0, 1), key.transpose(0, 1), value.transpose(0, 1)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=same_row).transpose(0, 1)


def _attend_flash(
    query: Tensor, key: Tensor, value: Tensor, starts: Tensor, longest: int
) -> Tensor:
    from flash_attn import flash_attn_varlen_func

    # Its backward pass adds up in an order of its own unless it is told otherwise.
    repeatable = torch.are_deterministic_algorithms_enabled()
    edges = (starts, starts, longest, longest)
    return flash_attn_varlen_func(query, key, value, *edges, deterministic=repeatable)


def _attend_varlen(
    query: Tensor, key: Tensor, value: Tensor, starts: Tensor, longest: int
) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    # By keyword: the order of its arguments changed between versions of torch.
    attended = varlen_attn(
        query=query,
        key=key,
        value=value,
        cu_seq_q=starts,
        cu_seq_k=starts,
        max_q=longest,
        max_k=longest,
        **_whole_sums(),
    )
    return cast(Tensor, attended)  # a pair only where more is asked for


@cache
def _whole_sums() -> dict[str, Any]:
    """Return what keeps torch's kernel from cutting a row's sum by what else is in the batch.

    Some builds know it and refuse it: `fault_of` then empties the dictionary, for good.
    """
    from torch.nn.attention.varlen import varlen_attn

    return {"num_splits": 1} if "num_splits" in inspect.signature(varlen_attn).parameters else {}


KERNELS: dict[str, Kernel] = {
    "flash": _attend_flash,
    "varlen": _attend_varlen,
    "reference": attend_block_diagonal,
}
_MODULES = {"flash": "flash_attn", "varlen": "torch.nn.attention.varlen"}
"""Where the kernels come from, the first choice first."""


# Which of them is used.

_forced: str | None = None


@contextmanager
def attention_path(name: str) -> Iterator[None]:
    """Compute attention by one path alone while the context lasts: a kernel's name, or `padded`.

    For comparisons; "reference" runs on every device and in every precision.
    """
    global _forced
    before, _forced = _forced, name
    try:
        yield
    finally:
        _forced = before


def packed_kernel(device: torch.device, dtype: torch.dtype, head_dim: int) -> str | None:
    """Return the name of the kernel that packed tokens are attended to with; None: pad them.

    Args:
        dtype: of queries, keys and values.
    """
    if _forced is not None:
        return None if _forced == "padded" else _forced
    half = dtype in (torch.float16, torch.bfloat16)
    if device.type != "cuda" or not half or not torch.cuda.is_available():
        return None
    if head_dim % 8 or head_dim > WIDEST_HEAD:
        return None
    names = (name for name in _MODULES if is_installed(name))
    return next((name for name in names if _runs(name, device, dtype, head_dim)), None)


@cache
def is_installed(name: str) -> bool:
    """Return whether what a kernel comes from is there; it is not imported for that."""
    try:
        return importlib.util.find_spec(_MODULES[name]) is not None
    except ModuleNotFoundError:  # a part of its path is missing
        return False


@cache
def _runs(name: str, device: torch.device, dtype: torch.dtype, head_dim: int) -> bool:
    """Try a kernel, and say where it fails: a GPU too old, a build without it, a wrong result."""
    wrong = fault_of(name, device, dtype, head_dim)
    if wrong is not None:
        say_once(f"Attention: {name} is left out here ({wrong}).")
    return wrong is None


def fault_of(name: str, device: torch.device, dtype: torch.dtype, head_dim: int) -> str | None:
    """Return in words why a kernel cannot be used here; None where it can."""
    fault = _fault(KERNELS[name], device, dtype, head_dim)
    if fault is not None and name == "varlen" and is_installed(name) and _whole_sums():
        _whole_sums().clear()
        fault = _fault(KERNELS[name], device, dtype, head_dim)
    return fault


def _fault(kernel: Kernel, device: torch.device, dtype: torch.dtype, head_dim: int) -> str | None:
    try:
        error = probe(kernel, device, dtype, head_dim)
    except (ImportError, RuntimeError, TypeError, ValueError) as failure:
        return next(iter(str(failure).strip().splitlines()), type(failure).__name__)
    return None if error <= PROBE_TOLERANCE else f"its result is off by {error:.2g}"


@torch.no_grad()
def probe(kernel: Kernel, device: torch.device, dtype: torch.dtype, head_dim: int) -> float:
    """Return how far a kernel is from the reference on three rows of random states."""
    starts = torch.tensor([0, 5, 6, 23], dtype=torch.int32)
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(3, 23, 2, head_dim, generator=generator).to(dtype)
    with torch.autocast(device.type, enabled=False):
        query, key, value = drawn.to(device).unbind(0)
        found = kernel(query, key, value, starts.to(device), 32).float().cpu()
        query, key, value = drawn.float().unbind(0)
        expected = attend_block_diagonal(query, key, value, starts, 32)
    distance = (found - expected).abs().max()
    return float(distance.nan_to_num(torch.inf))
