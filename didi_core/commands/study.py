"""What verbs that put many models and step counts into one table share: lists, labels, folder."""

import math
import re
import shutil
from pathlib import Path

from didi_core.cli import check_output
from didi_core.errors import UserError
from didi_core.models.hub_names import last_name
from didi_core.number_checks import MOST_STEPS


def split_words(text: str) -> tuple[str, ...]:
    """Words between commas, each once.

    >>> split_words("a, b,,a")
    ('a', 'b')
    """
    return tuple(dict.fromkeys(word for part in text.split(",") if (word := part.strip())))


def step_counts(flag: str, text: str, wrong: list[str], others: str = "") -> tuple[int, ...]:
    """Numbers of steps between commas; what is no such number is told to `wrong`.

    Args:
        others: what else may stand there, for the message.
    """
    words = split_words(text)
    if bad := [word for word in words if not _is_count(word)]:
        wrong.append(f"{flag} {text}: {', '.join(bad)} is no number of steps; give 8,16{others}")
        return ()
    return tuple(dict.fromkeys(int(word) for word in words))


def _is_count(word: str) -> bool:
    return word.isdecimal() and len(word) < 20 and 1 <= int(word) <= MOST_STEPS


def temperatures_of(text: str, wrong: list[str]) -> tuple[float, ...]:
    """Temperatures between commas, with 1; what is none is told to `wrong`.

    Six digits count: files are named by them.
    """
    words = split_words(text)
    if bad := [word for word in words if not _is_temperature(word)]:
        wrong.append(
            f"--temperatures {text}: {', '.join(bad)} is no temperature above 0; give 0.8,0.9,1"
        )
        return (1.0,)
    return tuple(sorted({1.0, *(float(f"{float(word):g}") for word in words)}))


def _is_temperature(word: str) -> bool:
    try:
        return 0 < float(word) < math.inf
    except ValueError:
        return False


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


def check_study_folder(
    out: Path, marker: str, holds: str, *, resume: bool, overwrite: bool
) -> None:
    """Refuse a folder that exists, unless it is to be continued or replaced and is ours.

    Args:
        marker: the file that shows a folder to be ours.
        holds: what such a folder holds, for the message: "comparison".

    Raises:
        UserError: see `check_output`; or it holds something else, which is never touched.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file: choose another name.")
    check_output(out, resume=resume, overwrite=overwrite)
    if not (out / marker).is_file() and out.is_dir() and any(out.iterdir()):
        flag = "--overwrite" if overwrite else "--resume"
        raise UserError(f"{flag}: {out} holds no {holds}; choose another --out.")


def empty_for_overwrite(out: Path, marker: str) -> None:
    """Remove a folder that `check_study_folder` let pass."""
    if (out / marker).is_file():
        shutil.rmtree(out)
