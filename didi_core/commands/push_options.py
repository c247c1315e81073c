"""What every `push` is asked for, and what it returns. Imports no torch: help is fast."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from didi_core.command_options import JsonOutput


@dataclass(frozen=True, kw_only=True)
class PushOptions:
    """What `push` can be asked for."""

    folder: Annotated[
        Path, Argument(metavar="FOLDER", help="Model folder that pretrain or distill wrote.")
    ]
    repo: Annotated[
        str, Option(metavar="USER/NAME", help="Repository on the Hugging Face hub; made if new.")
    ]
    private: Annotated[
        bool, Option("--private", help="Make a new repository private; an old one stays as it is.")
    ] = False
    license_name: Annotated[
        str | None,
        Option(
            "--license",
            metavar="NAME",
            help="Written into the card where it names none, as in cc-by-4.0.",
        ),
    ] = None
    dry_run: Annotated[
        bool, Option("--dry-run", help="Check the folder, list what would go, send nothing.")
    ] = False
    json_output: JsonOutput = False


@dataclass(frozen=True)
class PushResult:
    """What was uploaded."""

    repo: str
    files: tuple[str, ...]
    """Names within the folder."""
    num_bytes: int
    url: str | None
    """Of the commit; None of a dry run."""


def report_push(result: PushResult, *, as_json: bool) -> None:
    """Print what was uploaded, and where it is now."""
    if as_json:
        print(json.dumps(asdict(result), indent=2))
        return
    print("\n".join(f"  {name}" for name in result.files))
    size = f"{len(result.files)} files, {result.num_bytes / 1e6:,.1f} MB"
    if result.url is None:
        print(f"{size}: the folder is whole and would go to {result.repo}; nothing was sent.")
    else:
        print(f"{size}: {result.url}")
