"""Whether stored tensors are those that a network needs; every complaint lists names."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from didi_core.errors import UserError


def require_same_names(expected: Iterable[str], actual: Iterable[str], source: str) -> None:
    """Refuse weights of which tensors are missing or unexpected.

    Raises:
        UserError: tensors are missing or unexpected; the message lists both.
    """
    expected, actual = set(expected), set(actual)
    complaints = []
    if missing := sorted(expected - actual):
        complaints.append(f"missing: {', '.join(missing)}")
    if unexpected := sorted(actual - expected):
        complaints.append(f"unexpected: {', '.join(unexpected)}")
    if complaints:
        raise UserError(
            f"{source} does not hold the tensors that its config.json describes; "
            f"{'; '.join(complaints)}. Check that weights and config.json belong together."
        )


def require_layers(num_layers: int, weights: Mapping[str, Tensor], source: str) -> None:
    """Refuse a network before it is built: one of a thousand million layers would fill the memory.

    Raises:
        UserError: there are fewer tensors than layers.
    """
    if num_layers > len(weights):
        raise UserError(
            f"{source}: {num_layers} layers in config.json, and {len(weights)} tensors in its "
            "weights. Check that weights and config.json belong together."
        )


def require_shapes(
    weights: Mapping[str, Tensor], expected: Mapping[str, torch.Size], source: str
) -> None:
    """Refuse weights of which a tensor has another shape than expected.

    Raises:
        UserError: a tensor of `expected` has another shape in `weights`.
    """
    wrong = [
        f"{name} {list(weights[name].shape)}, not {list(shape)}"
        for name, shape in expected.items()
        if weights[name].shape != shape
    ]
    if wrong:
        raise UserError(
            f"{source} holds tensors of another shape than its config.json describes: "
            f"{'; '.join(wrong)}."
        )


def require_finite(weights: Mapping[str, Tensor], source: str) -> None:
    """Refuse weights that hold NaN or infinity.

    Raises:
        UserError: NaN or infinity in a tensor.
    """
    bad = sorted(name for name, tensor in weights.items() if not torch.isfinite(tensor).all())
    if bad:
        raise UserError(f"{source} holds NaN or infinity in {', '.join(bad)}: it cannot be used.")
