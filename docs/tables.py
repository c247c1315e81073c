"""The tables of docs/methods.md, made from the entries of samplers and methods.

`make tables` writes them; a test says when they are out of date.
"""

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from didi_core.diffusion.process import IN_WORDS
from didi_core.distill.registry import METHODS
from didi_core.sampling.registry import SAMPLERS

PAGE = Path(__file__).parent / "methods.md"
_TABLE = re.compile(r"(<!-- table: (\w+), written by make tables -->\n\n).*?(?=\n\n)", re.DOTALL)


def samplers() -> str:
    """Return the table of samplers."""
    head = "| `--sampler` | models | calls | exact? | |\n|---|---|---|---|---|"
    rows = (
        (f"`{each.name}`", _models(each.processes), each.calls, each.exact, each.summary)
        for each in sorted(SAMPLERS.values(), key=lambda each: each.name)
    )
    return _table(head, rows)


def methods() -> str:
    """Return the table of distillation methods."""
    head = "| `method=` | teachers | |\n|---|---|---|"
    return _table(
        head,
        ((f"`{each.name}`", _models((each.process,)), each.summary) for each in METHODS.values()),
    )


TABLES: dict[str, Callable[[], str]] = {"samplers": samplers, "methods": methods}


def written(page: str) -> str:
    """Return a page with the tables in place of what stands where its comments say."""
    return _TABLE.sub(lambda match: match[1] + TABLES[match[2]](), page)


def _models(processes: Iterable[str]) -> str:
    return ", ".join(IN_WORDS.get(each, each) for each in processes)


def _table(head: str, rows: Iterable[tuple[str, ...]]) -> str:
    return "\n".join([head, *(f"| {' | '.join(row)} |" for row in rows)])


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
