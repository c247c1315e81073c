"""The folding models' parts: random weights at full size, in batches and one at a time."""

import argparse
import random
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch

from benchmarks.fold_memory import measure_memory
from benchmarks.fold_random import FULL_SIZE, MODERATE, build_model, random_record
from benchmarks.fold_speed import measure_throughput, parse_arguments
from benchmarks.gpu.runner import Bench, Row, Rows, measured
from benchmarks.speed.alternate import alternate
from didi_core.models.fingerprint import count_parameters
from didi_protein.folding.memory import fold_or_shrink

SECOND_MODEL = "didi_protein.folding.esmfold2"
SMALL_ATOMS = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "intermediate_size": 24,
    "num_spatial_rope_pairs_per_axis": 1,
    "num_uid_rope_pairs": 4,
}
SMALL_ESMFOLD2: dict[str, Any] = {
    "hidden_size": 16,
    "pairwise_hidden_size": 12,
    "single_inputs_size": 16 + 67,
    "pair_transition_intermediate_size": 16,
    "folding_trunk_num_hidden_layers": 1,
    "parcae_num_coda_layers": 1,
    "atom_encoder": SMALL_ATOMS | {"output_dim": 16},
    "structure_head": {
        "diffusion_module": {
            "hidden_size": 24,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 24,
            "pair_intermediate_size": 16,
            "atom_encoder": SMALL_ATOMS | {"output_dim": 24},
        },
        "inference_num_steps": 2,
    },
    "confidence_head": {"num_hidden_layers": 1},
    "msa_encoder": {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2},
    "lm_encoder": {"num_hidden_layers": 1},
    "esmc_config": {
        "model_type": "esmc",
        "hidden_size": 24,
        "num_hidden_layers": 1,
        "num_attention_heads": 3,
        "intermediate_size": 40,
    },
}
"""For dry runs; what transformers builds without a word is the published network."""


def esmfold(bench: Bench) -> Rows:
    """Time ESMFold's own sizes on mixed lengths, and measure the memory of one long sequence."""
    arguments = _arguments(bench)
    model = build_model(MODERATE if bench.dry else FULL_SIZE, arguments, bench.device)

    def throughput() -> Row:
        return measure_throughput(model, arguments) | {
            "num_parameters": count_parameters(model.network)
        }

    length = 12 if bench.dry else 512
    yield from measured(
        {"throughput": throughput, "memory": lambda: measure_memory(model, length, arguments)}
    )


def _arguments(bench: Bench) -> argparse.Namespace:
    arguments = parse_arguments([])
    small = {"blocks": 1, "layers": 1, "num": 2, "shortest": 10, "longest": 14, "turns": 1}
    large = {"num": 12, "turns": 2, "seconds": 45.0}
    vars(arguments).update(small if bench.dry else large, device=str(bench.device))
    return arguments


def esmfold2(bench: Bench) -> Rows:
    """Time ESMFold2's own sizes, language model included; skipped where the package has it not."""
    if find_spec(SECOND_MODEL) is None:
        yield "throughput", {"skipped": "didi_protein has no such model"}
        return
    yield from measured({"throughput": partial(_esmfold2, bench)})


@torch.no_grad()
def _esmfold2(bench: Bench) -> Row:
    from transformers import EsmFold2Config, EsmFold2Model

    EsmFold2 = import_module(SECOND_MODEL).EsmFold2
    with bench.device:
        config = EsmFold2Config(**(SMALL_ESMFOLD2 if bench.dry else {}))
        network = EsmFold2Model(config).float().eval().requires_grad_(False)
    if bench.precision == "bf16":
        network.esmc.bfloat16()
    shape = {"name": "random", "fingerprint": "random", "precision": bench.precision}
    model = EsmFold2(**shape, network=network, recycles=0, samples=1, seed=0)
    generator = random.Random(0)
    longest = 12 if bench.dry else 300
    lengths = sorted(generator.randint(longest // 4, longest) for _ in range(2 if bench.dry else 6))
    sequences = [random_record(generator, length).sequence for length in lengths]
    contestants = {
        "ours": lambda: fold_or_shrink(model, sequences),
        "alone": lambda: [fold_or_shrink(model, [each]) for each in sequences],
    }
    timed = alternate(contestants, 1, bench.device)
    shares = {"lengths": lengths, "num_parameters": count_parameters(model.network)}
    return shares | timed.record([("alone", "ours")])
