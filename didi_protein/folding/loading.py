"""Weights of a folding model into transformers' network, every tensor accounted for."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers.utils import logging as transformers_logging

from didi_core.errors import UserError

PRECISIONS = {"float32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def load_network(
    network_class: Any,
    config: Any,
    weights: Mapping[str, Tensor],
    flag: str,
    is_ignored: Callable[[str], bool],
) -> Any:
    """Return the network in float32, with exactly these weights.

    Args:
        network_class: of transformers.
        config: of that class.
        flag: flag and name, for messages.
        is_ignored: whether a tensor may be missing, or be there without a place for it.

    Raises:
        UserError: tensors are missing, unexpected, of another shape, or not finite.
    """
    with _quiet():
        network, report = network_class.from_pretrained(
            None,
            config=config,
            state_dict=dict(weights),
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are in the report, and refused below
        )
    # Each misshapen one is a name, or that and both shapes, by the version of transformers.
    wrong = {
        "missing": [key for key in report["missing_keys"] if not is_ignored(key)],
        "unexpected": [key for key in report["unexpected_keys"] if not is_ignored(key)],
        "of another shape": [
            each if isinstance(each, str) else str(each[0]) for each in report["mismatched_keys"]
        ],
    }
    said = [f"{kind} {', '.join(sorted(keys))}" for kind, keys in wrong.items() if keys]
    if said:
        raise UserError(f"{flag}: the weights do not fit its config.json: {'; '.join(said)}.")
    bad = [key for key, value in network.state_dict().items() if not value.isfinite().all()]
    if bad:
        raise UserError(f"{flag}: weights that are not finite: {', '.join(bad)}.")
    return network


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the library's own bar and its report, which we check ourselves."""
    level = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        transformers_logging.enable_progress_bar()
