"""The most memory that a piece of work held, on the GPU or, on Linux, of the process.

with PeakMemory(device) as peak:
    work()
peak.bytes     # None where it cannot be measured
"""

from contextlib import suppress
from pathlib import Path
from types import TracebackType

import torch

_RESET = Path("/proc/self/clear_refs")


_STATUS = Path("/proc/self/status")


class PeakMemory:
    """Context manager: `bytes` holds the highest allocation while it was open.

    On CUDA what torch allocated; elsewhere the resident set of this process, which holds Python
    and the libraries too. The kernel's high-water mark is reset at the start, so that earlier
    work does not count.
    """

    def __init__(self, device: torch.device | str) -> None:
        self.device = torch.device(device)
        self.bytes: int | None = None

    def __enter__(self) -> "PeakMemory":
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        else:
            with suppress(OSError):
                _RESET.write_text("5")  # proc(5): resets the peak resident set size
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.device.type == "cuda":
            self.bytes = torch.cuda.max_memory_allocated(self.device)
        else:
            self.bytes = _peak_resident()


def _peak_resident() -> int | None:
    """VmHWM in bytes."""
    with suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return None


# Tell a lack of memory from other failures, and make room before trying something smaller.

_PHRASES = ("out of memory", "can't allocate memory", "not enough memory")
"""PyTorch has an exception of its own for memory on a GPU, and none on a processor."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that memory ran out, on a GPU or a processor."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return any(phrase in str(error).lower() for phrase in _PHRASES)


def release_cached_memory() -> None:
    """Give back what PyTorch keeps on the GPU for reuse: pieces of a large batch may not fit the
    small ones that follow. To be called when no exception holds on to the tensors any more."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
