"""The parts in the order of their worth, each with its limit in seconds: twelve minutes in all."""

from benchmarks.gpu.attention import attention
from benchmarks.gpu.engine import distill_steps, gpu_tests, memory, steps, throughput
from benchmarks.gpu.folding import esmfold, esmfold2
from benchmarks.gpu.runner import Part
from benchmarks.gpu.training import distillation

PARTS: dict[str, Part] = {
    part.name: part
    for part in (
        Part("tests", 75, gpu_tests),
        Part("attention", 70, attention),
        Part("steps", 80, steps),
        Part("throughput", 110, throughput),
        Part("distill-steps", 65, distill_steps),
        Part("memory", 30, memory),
        Part("esmfold", 75, esmfold),
        Part("esmfold2", 40, esmfold2),
        Part("distillation", 150, distillation),
    )
}
