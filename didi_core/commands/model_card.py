"""Model cards: what a model was made from, how, and how good it is."""

import itertools
import math
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from didi_core.hydra_app import as_plain, compose_plain
from didi_core.settings_arguments import NAMES


def command_line(
    program: str,
    verb: str,
    settings: object,
    config_name: str,
    groups: Mapping[str, Iterable[str]],
) -> str:
    """The shortest command that gives these settings.

    Args:
        config_name: the verb's configuration, as in configs/.
        groups: configuration groups, as Hydra calls them, with the names that may have been chosen.
    """
    chosen = itertools.product(*([None, *names] for names in groups.values()))
    candidates = [dict(zip(groups, each, strict=True)) for each in chosen]
    parts = min((_overrides(settings, config_name, each) for each in candidates), key=len)
    return f"{program} {verb} " + " ".join(shlex.quote(part) for part in parts)


def _overrides(settings: object, config_name: str, chosen: Mapping[str, str | None]) -> list[str]:
    """The choices of groups, and every setting that differs from what they give."""
    names = {group: name for group, name in chosen.items() if name is not None}
    usual = _defaults(config_name, tuple(f"{group}={name}" for group, name in names.items()))
    changed = [
        f"{name}={_none_of(name) if value is None else value}"
        for name, value in _flat(as_plain(settings))
        if usual.get(name) != value and name not in ("resume", "overwrite")
    ]
    return [f"{group.partition('@')[2] or group}={name}" for group, name in names.items()] + changed


def _none_of(name: str) -> str:
    return "" if name in NAMES else "null"


@lru_cache
def _defaults(config_name: str, given: tuple[str, ...]) -> dict[str, object]:
    """Every setting that the configuration has, once these groups are chosen."""
    return dict(_flat(compose_plain(config_name, given)))


def _flat(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, object]]:
    pairs = []
    for name, item in value.items():
        if isinstance(item, dict):
            pairs += _flat(item, f"{prefix}{name}.")
        else:
            pairs.append((prefix + name, _written(item)))
    return pairs


def _written(value: object) -> object:
    """A value as the command line has it."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(list(value)).replace(" ", "") if isinstance(value, list | tuple) else value


STANDARD_ERROR = "_standard_error"
"""Ends the name of a figure that belongs to the one of the name before it: what other draws of
times and noise would change. Other texts would change more."""


def told_nats(scores: Mapping[str, float]) -> Iterator[tuple[str, str]]:
    """Name and nats of each figure, with its standard error where there is one.

    >>> dict(told_nats({"bound": 2.5, "bound_standard_error": 0.01, "unigram": 2.9}))
    {'bound': '2.5000 ± 0.0100', 'unigram': '2.9000'}
    """
    for name, nats in scores.items():
        if not name.endswith(STANDARD_ERROR):
            error = scores.get(f"{name}{STANDARD_ERROR}")
            yield name, f"{nats:.4f}" + ("" if error is None else f" ± {error:.4f}")


def scores_table(scores: Mapping[str, float], unit: str) -> str:
    """Figures in nats a token with their standard errors, and their perplexities.

    Args:
        unit: what the program calls a token.
    """
    head = f"nats a {unit}"
    if any(name.endswith(STANDARD_ERROR) for name in scores):
        head += " ± error of the draws"
    rows = [f"| {key} | {told} | {math.exp(scores[key]):.2f} |" for key, told in told_nats(scores)]
    return "\n".join([f"| on the held-out file | {head} | perplexity |", "|---|---|---|", *rows])


def card(
    program: str,
    tags: Sequence[str],
    kind: str,
    title: str,
    description: str,
    facts: Mapping[str, str],
) -> str:
    """A card: front matter for the hub, a title, a paragraph, and a list of facts.

    Args:
        tags: those of a masked model.
        kind: of the model, from `kind_of`.
    """
    return "\n".join(
        [
            "---",
            f"library_name: {program}",
            f"tags: [{', '.join(tags).replace('masked', kind)}]",
            "---",
            "",
            f"# {title}",
            "",
            description,
            "",
            *(f"- {name}: {value}" for name, value in facts.items()),
            "",
        ]
    )
