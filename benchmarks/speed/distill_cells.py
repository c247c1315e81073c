"""A training step of distillation, timed against its plain form on the same networks."""

from collections.abc import Callable
from itertools import count
from typing import Any

import torch

from benchmarks.speed.alternate import alternate
from benchmarks.speed.layouts import LAYOUTS
from benchmarks.speed.plain_steps import plain_didi_step, plain_dmmd_step
from benchmarks.speed.plan import Cell
from didi_core.data.batches import bucket_width
from didi_core.data.corpus import Corpus
from didi_core.data.vocabulary import Vocabulary
from didi_core.distill.didi import DidiInstruct
from didi_core.distill.didi_settings import DidiSettings
from didi_core.distill.dmmd import DmmdSettings, MomentMatching
from didi_core.distill.reference import GroupedReference
from didi_core.training.devices import build_fabric

STEPS = 1_000
"""Of the run that the timed steps pretend to belong to."""


def distill_cell(cell: Cell, device: torch.device, precision: str) -> dict[str, Any]:
    """The record of a cell of kind distill."""
    method = build_method(cell)
    method.setup(build_fabric(str(device), precision))
    plain_step = plain_didi_step if isinstance(method, DidiInstruct) else plain_dmmd_step
    ours, plain = count(), count()
    contestants: dict[str, Callable[[], object]] = {
        "ours": lambda: method.step(next(ours), STEPS),
        "plain": lambda: plain_step(method, next(plain), STEPS),
    }
    timed = alternate(contestants, cell.repeats, device)
    record = timed.record([("plain", "ours")])
    tokens = method.reference.batch(0).batch.lengths.sum()
    rates = {name: float(tokens) / each["median"] for name, each in record["seconds"].items()}
    return record | {"student_tokens_per_second": rates}


def build_method(cell: Cell) -> DidiInstruct | MomentMatching:
    """The method as published (groups of four), or D-MMD, on a network with random weights."""
    layout = LAYOUTS[cell.layout]
    vocabulary, teacher = layout.vocabulary, layout.build()
    if cell.task == "didi":
        reference = build_reference(cell, vocabulary, group_size=4)
        return DidiInstruct(teacher, vocabulary, reference, DidiSettings(), seed=0)
    reference = build_reference(cell, vocabulary, group_size=1)
    return MomentMatching(teacher, vocabulary, reference, DmmdSettings(), seed=0)


def build_reference(cell: Cell, vocabulary: Vocabulary, group_size: int) -> GroupedReference:
    """Random sequences of the cell's lengths; a step has the tokens of `rows` of the longest."""
    generator = torch.Generator().manual_seed(0)
    low, high = cell.lengths
    lengths = torch.randint(low, high + 1, (64,), generator=generator)
    ranks = torch.randint(vocabulary.num_generable, (64, high), generator=generator)
    ids = [
        row[:length].tolist()
        for row, length in zip(vocabulary.generable[ranks], lengths, strict=True)
    ]
    tokens = cell.rows * bucket_width(high + vocabulary.num_special_per_sequence)
    return GroupedReference(Corpus.from_ids(ids), vocabulary, group_size, tokens, high, seed=0)
