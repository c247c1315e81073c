"""The pool that the methods of a comparison share, copied from student to student."""

import json
import os
import shutil
from pathlib import Path

import pytest

from didi_core.commands.comparing.compare import copy_pool
from didi_core.errors import Terminated


def pool_of(folder: Path, parts: int) -> Path:
    (folder / "key").mkdir(parents=True)
    for number in range(parts):
        rows = [[number, 5, 6]] * 40
        (folder / "key" / f"part_{number:05d}.json").write_text(json.dumps(rows))
    return folder


def contents(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("part_*")}


def test_what_a_copy_cut_short_leaves_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = pool_of(tmp_path / "a" / "pool", 3), tmp_path / "b" / "pool"
    whole_copy, copied = shutil.copyfile, []

    def stopped_in_the_second(part: Path, to: Path) -> None:
        whole_copy(part, to)
        copied.append(part)
        if len(copied) == 2:
            os.truncate(to, 50)
            raise Terminated

    with monkeypatch.context() as broken, pytest.raises(Terminated):
        broken.setattr(shutil, "copyfile", stopped_in_the_second)
        copy_pool(source, target)
    assert len(contents(target)) == 1
    assert contents(target).items() <= contents(source).items()
    copy_pool(source, target)
    assert contents(target) == contents(source)
    copy_pool(target, target)  # a study's own folder is among the others
    copy_pool(tmp_path / "none", target)
    assert contents(target) == contents(source)
