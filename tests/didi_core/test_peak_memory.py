"""The peak of one piece of work, not of what came before it."""

import subprocess
import sys

import pytest

MEGABYTE = 1_000_000
# In a process of its own: one that ran a thousand tests may hand out memory that it kept.
PROGRAM = f"""
import torch
from didi_core.peak_memory import PeakMemory

with PeakMemory("cpu") as before:
    block = torch.ones({60 * MEGABYTE}, dtype=torch.float32)  # 240 MB
    del block
with PeakMemory("cpu") as after:
    small = torch.ones({MEGABYTE})
print(before.bytes, after.bytes)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_peak_of_the_work_alone() -> None:
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=True)
    before, after = map(int, run.stdout.split())
    assert before - after > 150 * MEGABYTE
    assert after > 10 * MEGABYTE
