"""Texts of the zero-shot sets: which ones a user names, and from a file or their source."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from didi_core.errors import UserError
from didi_core.transfer import RemoteFile, fetch_file
from didi_text.corpora_cache import cache_root
from didi_text.corpora_hub import HubCorpus, fetch_parquet, read_parquet
from didi_text.zero_shot_sets import PUBLISHED, ZERO_SHOT, ZeroShotSet


@dataclass(frozen=True)
class ChosenSet:
    """A set, and the local file it is to be read from; None: its own source."""

    chosen: ZeroShotSet
    file: Path | None = None


def choose_sets(data: str | None) -> list[ChosenSet]:
    """The sets that --data names.

    Args:
        data: None for the published seven; a folder, for every set a file of which lies in it;
            else names separated by commas, each perhaps with its file: `ptb,lambada=FILE`.

    Raises:
        UserError: an unknown set, a missing file, or a folder that holds none.
    """
    if data is None:
        return [ChosenSet(ZERO_SHOT[name]) for name in PUBLISHED]
    folder = Path(data).expanduser()
    if folder.is_dir():
        return _sets_in(folder)
    chosen = []
    for part in data.split(","):
        name, _, file = part.strip().partition("=")
        if name not in ZERO_SHOT:
            raise UserError(
                f"--data {part}: no folder and no zero-shot set; there are {', '.join(ZERO_SHOT)}."
            )
        path = Path(file).expanduser() if file else None
        if path is not None and not path.is_file():
            raise UserError(f"--data {part}: there is no file {file}.")
        chosen.append(ChosenSet(ZERO_SHOT[name], path))
    return chosen


def _sets_in(folder: Path) -> list[ChosenSet]:
    found = []
    for each in ZERO_SHOT.values():
        names = [name + end for name in each.file_names for end in ("", ".gz")]
        files = [folder / name for name in names if (folder / name).is_file()]
        found += [ChosenSet(each, file) for file in files[:1]]
    if not found:
        known = ", ".join(name for each in ZERO_SHOT.values() for name in each.file_names)
        raise UserError(f"--data {folder}: none of {known} (or .gz) lies there.")
    return found


def texts_of(chosen: ChosenSet, *, offline: bool = False) -> list[str]:
    """The set's texts, detokenised, in order; empty ones stay, and add no token.

    Raises:
        UserError: it cannot be had, or is not of the form expected.
    """
    known = chosen.chosen
    if chosen.file is not None:
        raw: Sequence[str] = known.read(chosen.file)
    elif isinstance(known.source, RemoteFile):
        raw = known.read(fetch_set(known, offline=offline))
    else:
        files = fetch_parquet(known.source, offline=offline, called=known.name)
        raw = list(read_parquet(files, known.source.column))
    return [known.detokenise(text) for text in raw]


def fetch_set(known: ZeroShotSet, *, offline: bool = False) -> Path:
    """Bring a set to this machine, unless it is here; where it lies (a hub set: its folder).

    Raises:
        UserError: it cannot be had.
    """
    if isinstance(known.source, HubCorpus):
        files = fetch_parquet(known.source, offline=offline, called=known.name)
        return files[0].parent
    path = cache_root() / "zero_shot" / known.source.name
    if offline and not path.is_file():
        raise UserError(
            f"{known.title} is not on this machine: run `didi-text download {known.name}` where "
            f"there is a network, or give its file: --data {known.name}=FILE."
        )
    return fetch_file(known.source, path)
