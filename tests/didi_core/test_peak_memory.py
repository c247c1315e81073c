"""The peak of one piece of work, not of what came before it."""

import sys

import pytest
import torch

from didi_core.peak_memory import PeakMemory

MEGABYTE = 1_000_000


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_peak_of_the_work_alone() -> None:
    with PeakMemory("cpu") as before:
        block = torch.ones(60 * MEGABYTE, dtype=torch.float32)  # 240 MB
        del block
    with PeakMemory("cpu") as after:
        small = torch.ones(MEGABYTE)
    assert before.bytes is not None and after.bytes is not None
    assert before.bytes - after.bytes > 150 * MEGABYTE
    assert small.sum() == MEGABYTE
