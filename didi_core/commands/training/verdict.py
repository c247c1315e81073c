"""What a pre-training came to, in a sentence, and the command that comes next.

A model has learnt something where held-out sequences are likelier to it than to models that only
count residues of the training data, unigram and bigram: below both, with the whole interval of the
difference. Where it started from the weights of another, it must have got better than these too, by
the difference of each sequence: what they knew before is no merit of the run. Intervals are 95%, by
a bootstrap over sequences [1]_; relatives among them make them a little narrow. Of fewer than 30
sequences nothing is claimed.

.. [1] Efron, Tibshirani. "An Introduction to the Bootstrap", 1993, chapter 13.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from didi_core.commands.training.held_out import HeldOutNats
from didi_core.commands.training.settings import PretrainSettings
from didi_core.evaluation.bootstrap import (
    ENOUGH_RECORDS,
    Interval,
    bootstrap_ratio,
    warnings_of_few,
)
from didi_core.progress import counted

MUST_BEAT = ("unigram", "bigram")
SMALLEST_GAIN = 0.01
"""Nats a token. What a run adds to the weights it started from is no news below it, however sure:
pairs of the same sequences show a thousandth."""
"""Models that only count, above which nothing was learnt."""
LONGER = 4
"""How many times the updates a run that has not learnt is told to have."""
MEMORISED = 0.3
"""Nats a token of training loss below the held-out one: sequences are known by heart."""


@dataclass(frozen=True)
class Standing:
    """How a model stands beside another, on the same sequences."""

    name: str
    """Of the other."""
    difference: Interval
    """Nats a token of the model less the other's: below 0 the model is better."""

    def __str__(self) -> str:
        less = self.difference.mean < 0
        ends = sorted(abs(end) for end in (self.difference.low, self.difference.high))
        if self.difference.low < 0 < self.difference.high:
            ends = [self.difference.low, self.difference.high]
        interval = f"95% {ends[0]:.3f} to {ends[1]:.3f}"
        where = "below" if less else "above"
        return f"{abs(self.difference.mean):.3f} {where} {self.name} ({interval})"


@dataclass(frozen=True)
class Before:
    """What the weights that training started from had, and what it changed."""

    found: Sequence[Standing]
    """How they stood beside models that only count."""
    change: Standing
    """How the model stands beside them, sequence by sequence."""

    @classmethod
    def of(
        cls, name: str, now: HeldOutNats, then: HeldOutNats, found: Sequence[Standing]
    ) -> "Before":
        """Set a model beside what it started from, on the same sequences and the same masks."""
        difference = bootstrap_ratio(now.nats - then.nats, now.tokens)
        return cls(found, Standing(name, difference))

    @property
    def is_better(self) -> bool:
        """Whether it is better than these weights by enough, with the whole interval."""
        return self.change.difference.high < 0 and self.change.difference.mean <= -SMALLEST_GAIN

    def __str__(self) -> str:
        change, start = self.change.difference, self.change.name
        if self.is_better:
            said = "this run made held-out sequences likelier"
        elif change.low > 0:
            said = "this run made held-out sequences less likely"
        elif change.high < 0:
            said = f"this run changed less than {SMALLEST_GAIN:g}"
        else:
            said = "what this run changed is not clear of zero"
        had = ", ".join(map(str, self.found))
        return f"{said}: {self.change}; {start} was {had} before the first update, the model is "


def standings(
    measured: HeldOutNats, others: Mapping[str, NDArray[np.float64]], lengths: NDArray[np.int64]
) -> list[Standing]:
    """Set a model beside others that scored the same sequences.

    Args:
        others: nats [sequences] of each.
        lengths: tokens of each sequence that the others scored.
    """
    share = measured.tokens / lengths  # where a model does not score a first token
    return [
        Standing(name, bootstrap_ratio(measured.nats - nats * share, measured.tokens))
        for name, nats in others.items()
    ]


def has_learnt(found: Sequence[Standing], before: Before | None = None) -> bool:
    """Tell whether a model is better than all that only count, with the whole interval.

    Args:
        before: what it started from, which it must be better than, too.
    """
    counts = all(each.difference.high < 0 for each in found if each.name in MUST_BEAT)
    return counts and (before is None or before.is_better)


def held_out_history(lines: Sequence[Mapping[str, Any]]) -> list[tuple[int, float]]:
    """Return update and held-out loss of each look at it, from lines of metrics.jsonl."""
    names = ("validation_bound", "validation_nll")
    return [(each["step"], each[name]) for each in lines for name in names if name in each]


def verdict(
    found: Sequence[Standing],
    measured: HeldOutNats,
    lines: Sequence[Mapping[str, Any]],
    settings: PretrainSettings,
    unit: str,
    before: Before | None = None,
) -> str:
    """Return the sentence: learnt, and how much, or not, and what to change.

    Args:
        lines: of metrics.jsonl.
        unit: what a token is called.
        before: what training started from; None for fresh weights.
    """
    beside = ("" if before is None else str(before)) + ", ".join(map(str, found))
    count = len(measured.nats)
    what = f"{beside}, in nats a {unit} on {counted(count, 'held-out sequence')}"
    history = held_out_history(lines)
    if before is None and history and history[0][0] == 0:
        now = next(iter(measured.figures.values()))
        what += f"; {history[0][1]:.3f} before the first update, {now:.3f} now"
    few = "".join(f" {each}" for each in warnings_of_few(count, "held-out sequences"))
    if has_learnt(found, before):
        if count < ENOUGH_RECORDS:
            return f"Not shown: {what}.{few} Hold out {ENOUGH_RECORDS} or more (valid=) to tell."
        more = f" It still fell at the end: steps={LONGER * settings.steps} may give more."
        return f"Learnt: {what}.{more if _still_falls(history) else ''}"
    return f"Not learnt: {what}. {advice(history, lines, settings, before)}{few}"


def advice(
    history: Sequence[tuple[int, float]],
    lines: Sequence[Mapping[str, Any]],
    settings: PretrainSettings,
    before: Before | None = None,
) -> str:
    """Return what to change of a run that has not learnt; arguments as of `verdict`."""
    longer = f"steps={LONGER * settings.steps}"
    if _still_falls(history):
        return f"Train longer: {longer} (the held-out loss still fell at the end)."
    best_step, best = min(history, key=lambda each: each[1])
    losses = [each["loss"] for each in lines if "loss" in each][-10:]
    layers = settings.model.num_layers
    memorised = bool(losses) and float(np.mean(losses)) < best - MEMORISED
    if before is not None:  # whose shape is not for this run to choose
        return (
            f"The held-out loss stopped falling at update {best_step:,}: "
            f"{'give more sequences' if memorised else f'train longer ({longer})'}, or change the "
            "learning rate (optimizer.lr=)."
        )
    if memorised:
        return (
            f"The held-out loss stopped falling at update {best_step:,} while that of training "
            "went on: give more sequences, start from a model that knows proteins (init=), or "
            f"train a smaller one (model.num_layers={max(1, layers // 2)})."
        )
    return (
        f"The held-out loss stopped falling at update {best_step:,}: train longer ({longer}), or a "
        f"larger model (model.num_layers={2 * layers})."
    )


def _still_falls(history: Sequence[tuple[int, float]]) -> bool:
    """Return whether the last look found the lowest loss, or there was one look alone."""
    losses = [loss for _, loss in history]
    return len(losses) < 2 or losses[-1] < min(losses[:-1])
