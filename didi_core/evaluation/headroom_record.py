"""`headroom.json`: a model's curve with what it was measured on, and what calls lose by it."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from didi_core.errors import UserError
from didi_core.evaluation.headroom import CallsLoss, Curve, MaskedSums
from didi_core.io.text_files import UTF_8
from didi_core.models.fingerprint import weights_digest
from didi_core.models.hub import HEADROOM

FORMAT = "didi headroom 1"
MOST_NATS = 1_000.0
"""A token: far above what any network that was trained needs."""


@dataclass(frozen=True)
class Measured:
    """What a curve was measured with; together with the weights it decides every number."""

    data: str
    num_sequences: int
    num_tokens: int
    seed: int
    precision: str


@dataclass(frozen=True)
class StoredCurve:
    """The curve in a model's folder."""

    curve: Curve
    weights: str
    """Digest of the model's weights as they were measured."""
    measured: Measured

    def is_of(self, network: nn.Module) -> bool:
        """Return whether it was measured on the network's weights.

        Digests of another precision cannot be compared: there the folder is trusted.
        """
        is_half = next(network.parameters()).dtype == torch.bfloat16
        comparable = is_half == (self.measured.precision == "bf16")
        return not comparable or weights_digest(network) == self.weights


def headroom_record(
    model: str,
    weights: str,
    measured: Measured,
    sums: MaskedSums,
    losses: Sequence[CallsLoss],
    versions: dict[str, str],
) -> dict[str, Any]:
    """Return the contents of a `headroom.json`."""
    resampled = sums.resampled(measured.seed)
    curve = sums.curve
    return {
        "format": FORMAT,
        "model": model,
        "weights": weights,
        "measured": asdict(measured),
        "masked": list(curve.masked),
        "nats": list(curve.nats),
        "standard_error": np.nanstd(resampled, axis=0).tolist(),
        "nats_all_given": float(curve.at([0.0])[0]),
        "nats_one_by_one": curve.integral,
        "losses": [{**asdict(each), "grid": list(each.grid)} for each in losses],
        "versions": versions,
    }


def read_curve(folder: Path) -> StoredCurve | None:
    """Read the curve of a model's folder; None where it has none.

    Raises:
        UserError: the file is damaged, or no file of `headroom`.
    """
    path = folder / HEADROOM
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text(encoding=UTF_8))
        if record["format"] != FORMAT:
            raise ValueError(f"its format is {record['format']!r}, not {FORMAT!r}")
        curve = Curve(_numbers(record["masked"]), _numbers(record["nats"]))
        rising = len(curve.masked) > 1 and bool((np.diff(curve.masked) > 0).all())
        shares = rising and curve.masked[0] > 0 and curve.masked[-1] == 1
        if len(curve.masked) != len(curve.nats) or not shares:
            raise ValueError("masked must be rising shares up to 1, and nats one for each")
        if not 0 <= min(curve.nats) <= max(curve.nats) <= MOST_NATS:
            raise ValueError(f"nats must be from 0 to {MOST_NATS:g}")
        return StoredCurve(curve, str(record["weights"]), Measured(**record["measured"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is no curve that `headroom` wrote ({error}): remove it, and measure anew."
        ) from error


def _numbers(values: Any) -> tuple[float, ...]:
    numbers = tuple(float(each) for each in values)
    if not np.isfinite(numbers).all():
        raise ValueError("a number is not finite")
    return numbers
