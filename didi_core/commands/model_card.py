"""Model cards: what a model was made from, how, and how good it is."""

import itertools
import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from didi_core.hydra_app import as_plain, compose_plain


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
        f"{name}={'null' if value is None else value}"
        for name, value in _flat(as_plain(settings))
        if usual.get(name) != value and name not in ("resume", "overwrite")
    ]
    return [f"{group.partition('@')[2] or group}={name}" for group, name in names.items()] + changed


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


def scores_table(scores: Mapping[str, float], unit: str) -> str:
    """Figures in nats a token, with their perplexities.

    Args:
        unit: what the program calls a token.
    """
    rows = [f"| {name} | {nats:.4f} | {math.exp(nats):.2f} |" for name, nats in scores.items()]
    return "\n".join(
        [f"| on the held-out file | nats a {unit} | perplexity |", "|---|---|---|", *rows]
    )


def card(
    program: str, tags: Sequence[str], title: str, description: str, facts: Mapping[str, str]
) -> str:
    """A card: front matter for the hub, a title, a paragraph, and a list of facts."""
    return "\n".join(
        [
            "---",
            f"library_name: {program}",
            f"tags: [{', '.join(tags)}]",
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
