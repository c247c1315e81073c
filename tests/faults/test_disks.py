"""Full disks, places that cannot be written, and what a kill left half written."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from didi_core.cli.run import run_program
from didi_core.errors import UserError
from didi_core.io import files
from didi_core.io.files import (
    Unwritable,
    append_durably,
    atomic_path,
    write_json,
    write_text,
)
from didi_core.training.checkpoints import Checkpoints
from didi_protein.app import app
from didi_protein.scoring.table import build_table, write_scores
from didi_protein.sequences.fasta import ProteinRecord, write_fasta


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True)
    except OSError as error:
        pytest.skip(f"no file system can be mounted here: {error}")
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


LARGE = "".join(chr(65 + i * i % 26) for i in range(200_000))
ROWS = [{"id": str(i), "sequence": os.urandom(60).hex(), "status": "ok"} for i in range(2000)]
WRITERS = {
    "s.csv": lambda path: write_scores(path, build_table(ROWS)),
    "s.parquet": lambda path: write_scores(path, build_table(ROWS)),
    "s.jsonl": lambda path: write_scores(path, build_table(ROWS)),
    "d.fasta": lambda path: write_fasta(path, [ProteinRecord("a", LARGE)]),
    "j.json": lambda path: write_json(path, LARGE),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_leaves_the_old_file(small_disk: Path, name: str) -> None:
    path = small_disk / name
    path.write_text("old")
    with pytest.raises(Unwritable, match=rf"{name} cannot be written \(No space left.*make room"):
        WRITERS[name](path)
    assert path.read_text() == "old"
    assert [each.name for each in small_disk.iterdir()] == [name], "nothing half is left"


def test_a_full_disk_in_training_names_the_last_good_checkpoint(small_disk: Path) -> None:
    checkpoints = Checkpoints(small_disk)
    first = checkpoints.save(10, {"method": {"w": torch.zeros(10)}})
    with pytest.raises(
        UserError, match=rf"after step 20: .*No space left.*{first.name}.*resume=true"
    ):
        checkpoints.save(20, {"method": {"w": torch.zeros(50_000)}})
    assert checkpoints.load_latest()["step"] == 10
    assert [path.name for path in checkpoints.folder.iterdir()] == [first.name]


def test_a_full_disk_while_work_is_added(small_disk: Path) -> None:
    journal = small_disk / "d.fasta.partial"
    append_durably(journal, b"first\n")
    with pytest.raises(Unwritable, match=r"continue with --resume; what was finished before"):
        append_durably(journal, LARGE.encode())
    assert journal.read_bytes().startswith(b"first\n")


def test_a_command_on_a_full_disk_ends_with_status_2(
    small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = small_disk / "d.fasta"
    (small_disk / "others").write_bytes(bytes(60 * 1024))
    flags = ["--model", "tiny", "--length", "60", "--steps", "1", "--device", "cpu"]
    arguments = ["generate", "--num", "20", *flags, "--out", str(out)]
    assert run_program(lambda: app(arguments, standalone_mode=False)) == 2
    said = capsys.readouterr().err
    assert "No space left on device" in said and "make room" in said and "Traceback" not in said
    assert not out.exists()


PLACES = {
    "a file where a folder is needed": ("file/x.json", r"a file stands where a folder is needed"),
    "a folder where the file is needed": ("folder", r"a folder stands where the file is needed"),
    "a name too long": ("x" * 300 + ".json", r"choose a shorter name"),
    "no folder of this system": ("/proc/x/y.json", r"cannot be written"),
}


@pytest.mark.parametrize("name", PLACES)
def test_places_that_cannot_be_written(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    place, said = PLACES[name]
    with pytest.raises((Unwritable, FileNotFoundError), match=said if place[0] != "/" else ""):
        write_text(tmp_path / place, "{}")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_read_only_file_system(tmp_path: Path) -> None:
    """Not even root writes there."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(place)]
    with suppress(OSError):
        if subprocess.run(mount, capture_output=True).returncode == 0:
            try:
                with pytest.raises(Unwritable, match=r"Read-only file system"):
                    write_text(place / "x.json", "{}")
            finally:
                subprocess.run(["umount", str(place)], check=True)
            return
    pytest.skip("no file system can be mounted here")


def test_what_a_kill_left_is_swept_and_what_is_in_use_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = tmp_path / ".d.didi-abcdefgh"
    left.mkdir()
    (left / ".tmpAbCdEf").write_text(">half")
    older = tmp_path / ".d.didi-abcdefgh.fasta"  # as earlier versions called them
    older.write_text(">half")
    mine = tmp_path / ".d.fasta"
    mine.write_text("the user's")
    monkeypatch.setattr(files, "_swept", set())
    with atomic_path(tmp_path / "d.fasta") as temporary:
        assert not left.exists() and not older.exists()
        monkeypatch.setattr(files, "_swept", set())
        write_text(tmp_path / "other.fasta", "")  # another process would sweep here
        assert temporary.exists()
        temporary.write_text("whole")
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [".d.fasta", "d.fasta", "other.fasta"]


WRITES_BESIDE = (
    "import sys; from didi_core.io.files import write_text; write_text(sys.argv[1], 'x')"
)


def test_another_process_leaves_alone_what_a_writer_has_put_in_place_of_the_file(
    tmp_path: Path,
) -> None:
    """safetensors writes a file of its own and renames it: a lock on ours would not be on that."""
    with atomic_path(tmp_path / "a.safetensors") as temporary:
        other = temporary.with_name("other")
        save_file({"a": torch.ones(3)}, other)
        os.replace(other, temporary)
        beside = str(tmp_path / "b.txt")
        subprocess.run([sys.executable, "-c", WRITES_BESIDE, beside], check=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.safetensors", "b.txt"]


DIES_HALFWAY = """
import os, signal, sys
from pathlib import Path
from didi_core.io.files import atomic_path
with atomic_path(Path(sys.argv[1])) as temporary:
    temporary.with_name(".tmpAbCdEf").write_text("half")  # as safetensors calls it
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_writer_left_under_a_name_of_its_own_is_swept(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", DIES_HALFWAY, str(tmp_path / "a.txt")])
    assert len(list(tmp_path.iterdir())) == 1
    subprocess.run([sys.executable, "-c", WRITES_BESIDE, str(tmp_path / "b.txt")], check=True)
    assert [path.name for path in tmp_path.iterdir()] == ["b.txt"]
