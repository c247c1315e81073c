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
