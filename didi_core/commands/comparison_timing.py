"""A call before those that are timed: the first of a model and sampler pays for set-up."""

from didi_core.commands.batch_writer import batch_writer
from didi_core.commands.comparison_cells import Cell, CellRequest
from didi_core.commands.sampling_options import SamplingOptions
from didi_core.models.folder import LoadedModel

TOKENS, STEPS = 8, 2
"""Enough to go through every part of a sampler, in a moment."""


def warm_up(request: CellRequest, cell: Cell, model: LoadedModel) -> None:
    """Write one short sequence with the model and sampler of a cell, and keep nothing of it."""
    asked = request.generation(cell, "") | {"steps": cell.steps and min(cell.steps, STEPS)}
    vocabulary = model.vocabulary
    row = vocabulary.frame([vocabulary.mask_id] * TOKENS)
    batch_writer(SamplingOptions(**asked), model, row)([0])
