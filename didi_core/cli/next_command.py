"""The command that comes next: said once, at the end of a verb, as it may be pasted."""

from pathlib import Path


def show_next(command: str | None) -> None:
    """Print what to do next, where there is anything; never beside JSON."""
    if command is not None:
        print(f"Next: {command}")


def fresh_path(path: Path, *beside: str) -> Path:
    """Return the path, or where its files exist, the first of `NAME-2`, `NAME-3` that is free.

    Args:
        path: `NAME.suffix`.
        beside: suffixes of what is written with it, as in `.summary.json`.
    """
    number, free = 1, path
    while any(free.with_suffix(each).exists() for each in (path.suffix, *beside)):
        number += 1
        free = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return free


def fresh_folder(path: Path) -> Path:
    """Return the folder, or where there is one, the first of `NAME-2`, `NAME-3` that is free."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.name}-{number}")
    return free
