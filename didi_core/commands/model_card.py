"""Model cards: what a model was made from, how, and how good it is."""

import math
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from didi_core.hydra_app import as_plain


def command_line(program: str, verb: str, settings: object) -> str:
    """The command that repeats a run: every setting that differs from its default."""
    defaults = set(_flat(as_plain(type(settings)())))
    changed = [
        f"{name}={value}"
        for name, value in _flat(as_plain(settings))
        if (name, value) not in defaults
        and value is not None
        and name not in ("resume", "overwrite")
    ]
    return f"{program} {verb} " + " ".join(shlex.quote(part) for part in changed)


def _flat(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, object]]:
    pairs = []
    for name, item in value.items():
        if isinstance(item, dict):
            pairs += _flat(item, f"{prefix}{name}.")
        else:
            pairs.append(
                (prefix + name, str(item).replace(" ", "") if isinstance(item, list) else item)
            )
    return pairs


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
