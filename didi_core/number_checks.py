"""What is wrong with the numbers of flags and settings, in words; imports no torch.

Each function gives a complaint for each number that makes no sense, with its name and value.
"""

import math
import os
import re

from didi_core.errors import as_written


def seed_errors(seed: int, name: str = "--seed") -> list[str]:
    """Random numbers are keyed by the seed as a signed integer of 64 bits.

    Args:
        name: the flag, or the key of a setting.
    """
    return [] if 0 <= seed < 2**63 else [f"{as_written(name, seed)} must be from 0 to 2^63 - 1"]


MOST_STEPS = 1_000_000
"""Of a sampler: its grid is held in memory, and far past the positions to fill more steps change
nothing that could be seen."""
BYTES_A_RECORD = 500
"""What a sequence to be made takes at least, from the plan to the file."""
_BYTES = {"num": BYTES_A_RECORD, "pool_size": BYTES_A_RECORD, "tokens_per_batch": 100}
"""What one of a count takes at least; of a token of a training step, ids and activations."""
_STEPS = ("steps", "teacher_steps", "pool_steps")


def minimum_errors(options: object, **least: int) -> list[str]:
    """Of flags, each with the least it may be; one that was not given is None.

    Counts that would fill the memory are too large.
    """
    found = [(name, getattr(options, name)) for name in least]
    small = [
        f"--{name.replace('_', '-')} {value} must be at least {least[name]}"
        for name, value in found
        if value is not None and value < least[name]
    ]
    given = ((name, value) for name, value in found if value is not None)
    large = (too_many(name, value, f"--{name.replace('_', '-')}") for name, value in given)
    return [*small, *(each for each in large if each)]


def too_many(name: str, value: int, called: str) -> str | None:
    """Return what is wrong with a count that would fill the memory; None where it would not.

    Args:
        name: of the option or setting.
        called: what messages call it: the flag, or the key of a setting.
    """
    if name in _STEPS and value > MOST_STEPS:
        return f"{as_written(called, value)} must be at most {MOST_STEPS}"
    room, each = physical_memory(), _BYTES.get(name, 0)
    if room is not None and value * each > room:
        return (
            f"{as_written(called, value)} needs {value * each >> 30:,} GiB or more, and this "
            f"machine has {room >> 30}: give at most {room // each}"
        )
    return None


def physical_memory() -> int | None:
    """Return the bytes of memory that this machine has; None where it does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # no POSIX
        return None


def negative_errors(settings: object, *names: str) -> list[str]:
    """Of settings that may be 0 or more."""
    found = [(name, getattr(settings, name)) for name in names]
    return [f"{name}={value:g} must be 0 or more" for name, value in found if not value >= 0]


def positive_errors(settings: object, *names: str) -> list[str]:
    """Of settings that may be any number above 0."""
    found = [(name, getattr(settings, name)) for name in names]
    return [
        f"{name}={value:g} must be above 0" + (" and finite" if value > 0 else "")
        for name, value in found
        if not 0 < value < math.inf
    ]


def positive_int_errors(settings: object, *names: str) -> list[str]:
    """Of settings that count something and must be at least 1."""
    found = [(name, getattr(settings, name)) for name in names]
    return [f"{name}={value} must be at least 1" for name, value in found if value < 1]


def fraction_errors(settings: object, *names: str) -> list[str]:
    """Of settings that are parts of a whole, none of it and all of it among them."""
    found = [(name, getattr(settings, name)) for name in names]
    return [f"{name}={value:g} must be from 0 to 1" for name, value in found if not 0 <= value <= 1]


def decay_errors(settings: object, *names: str) -> list[str]:
    """Of settings that are parts of a whole and leave some of it."""
    found = [(name, getattr(settings, name)) for name in names]
    return [f"{name}={value:g} must be in [0, 1)" for name, value in found if not 0 <= value < 1]


_PERCENTAGE = re.compile(r"([0-9]*\.?[0-9]+)\s*%")


def percentage(text: str | None) -> float | None:
    """Return the share that a text such as `10%` names; None of any other text.

    >>> percentage("12.5%"), percentage("held_out.fasta"), percentage(None)
    (0.125, None, None)
    """
    found = _PERCENTAGE.fullmatch(text.strip()) if text else None
    return None if found is None else float(found[1]) / 100


def range_errors(settings: object, name: str, low: float, high: float) -> list[str]:
    """Of a setting that is two numbers from `low` to `high`, the smaller one first."""
    value = getattr(settings, name)  # OmegaConf lets any number of numbers pass for two
    if len(value) == 2 and low <= value[0] <= value[1] <= high:
        return []
    shown = ",".join(f"{each:g}" for each in value)
    return [f"{name}=[{shown}] must be two numbers from {low:g} to {high:g}, in order"]
