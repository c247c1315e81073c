"""Lists of models, and what each is called in tables and file names; imports no torch."""

import re

from didi_core.models.hub_names import last_name

_BETWEEN = re.compile(r",(?![^()]*\))")
"""A comma that stands in no brackets."""


def split_words(text: str) -> tuple[str, ...]:
    """Words between commas that stand in no brackets, each once.

    >>> split_words("a, b(c=1,d=2),,a")
    ('a', 'b(c=1,d=2)')
    """
    return tuple(dict.fromkeys(word for part in _BETWEEN.split(text) if (word := part.strip())))


def label_of(model: str) -> str:
    """What a model or method is called in the table and in file names.

    >>> label_of("runs/my student"), label_of("jdeschena/sdtt@baselines_kld_step_70000")
    ('my-student', 'sdtt-baselines_kld_step_70000')
    """
    return re.sub(r"[^A-Za-z0-9_.-]", "-", last_name(model))


def label_clashes(names: tuple[str, ...]) -> list[str]:
    """What is wrong where two of `names` have one label; empty where all differ."""
    labels = [label_of(name) for name in names]
    twice = sorted({label for label in labels if labels.count(label) > 1})
    return [f"two models would both be called {', '.join(twice)}: rename a folder"] if twice else []
