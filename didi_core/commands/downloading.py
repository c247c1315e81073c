"""What `download` does in both programs: fetch each name, go on after one that fails."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from didi_core.errors import UserError


def fetch_all(
    names: Sequence[str], fetch_one: Callable[[str], Path], known: Iterable[str]
) -> dict[str, Path]:
    """Fetch each of `names`.

    Args:
        known: names that users often mean, to be suggested for one that is much alike.

    Returns:
        Where each lies now.

    Raises:
        UserError: some could not be fetched; the message has one reason for each.
    """
    from didi_core.models.named import nearest_name

    known = list(known)
    found: dict[str, Path] = {}
    problems: list[str] = []
    for name in names:
        try:
            found[name] = fetch_one(name)
        except UserError as error:
            near = None if name in known else nearest_name(name, known)
            hint = "" if near is None else f"{name}: did you mean {near}? "
            problems.append(f"{hint}{error}")
    if problems:
        raise UserError("\n".join([*problems, *(f"{name}: fetched" for name in found)]))
    return found
