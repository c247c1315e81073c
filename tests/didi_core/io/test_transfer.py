"""Fetching a file: interrupted, resumed, checked."""

import hashlib
import socket
from pathlib import Path

import pytest
from file_server import Behaviour, serve

from didi_core.errors import UserError
from didi_core.io import download as transfer
from didi_core.io.download import RemoteFile, fetch_file

CONTENT = bytes(range(256)) * 4_000
MD5 = hashlib.md5(CONTENT).hexdigest()


def fetch(told: Behaviour, target: Path, md5: str | None = MD5) -> Path:
    return fetch_file(RemoteFile(told.url, md5), target, pause_seconds=0.0)


def test_name_of_a_remote_file() -> None:
    assert RemoteFile("https://x.org/a/b.tar.gz?download=1").name == "b.tar.gz"


@pytest.mark.parametrize("md5", [MD5, None])
def test_whole(tmp_path: Path, md5: str | None) -> None:
    with serve(Behaviour(CONTENT)) as told:
        assert fetch(told, tmp_path / "sub" / "f", md5).read_bytes() == CONTENT
        fetch(told, tmp_path / "sub" / "f", md5)
    assert told.requests == [None], "a file that is there is not fetched again"
    assert [path.name for path in (tmp_path / "sub").iterdir()] == ["f"]


@pytest.mark.parametrize(
    ("told", "part", "requests"),
    [
        (Behaviour(CONTENT, cut_after=[1_000, 500_000]), None, [None, "1000-", "501000-"]),
        (Behaviour(CONTENT), CONTENT, [f"{len(CONTENT)}-"]),
        (Behaviour(CONTENT), CONTENT + b"more", [f"{len(CONTENT) + 4}-", None]),
        (Behaviour(CONTENT, knows_ranges=False, cut_after=[1_000]), None, [None, "1000-"]),
        (Behaviour(CONTENT, states_length=False), None, [None]),
    ],
    ids=["cut twice", "whole already", "too long", "no ranges", "no length"],
)
def test_what_was_cut_is_resumed_where_it_ended(
    tmp_path: Path, told: Behaviour, part: bytes | None, requests: list[str | None]
) -> None:
    if part is not None:
        (tmp_path / "f.part").write_bytes(part)
    with serve(told):
        assert fetch(told, tmp_path / "f").read_bytes() == CONTENT
    assert told.requests == [each and f"bytes={each}" for each in requests]


def test_a_later_call_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after Ctrl-C: the first call dies in the middle, the second asks for the rest."""
    receive = transfer._receive

    def interrupt(url: str, part: Path, show: object) -> bool:
        receive(url, part, show)
        raise KeyboardInterrupt

    with serve(Behaviour(CONTENT, cut_after=[300_000])) as told:
        with monkeypatch.context() as patch:
            patch.setattr(transfer, "_receive", interrupt)
            with pytest.raises(KeyboardInterrupt):
                fetch(told, tmp_path / "f")
        assert not (tmp_path / "f").exists()
        assert (tmp_path / "f.part").stat().st_size == 300_000
        assert fetch(told, tmp_path / "f").read_bytes() == CONTENT
    assert told.requests == [None, "bytes=300000-"]


def test_wrong_checksum_is_refused_and_removed(tmp_path: Path) -> None:
    with serve(Behaviour(CONTENT[:-1] + b"x")) as told:
        with pytest.raises(UserError, match=rf"not {MD5}.*removed"):
            fetch(told, tmp_path / "f")
        assert list(tmp_path.iterdir()) == []
        (tmp_path / "f").write_bytes(b"put here by hand")
        with pytest.raises(UserError, match="checksum"):
            fetch(told, tmp_path / "f")
    assert list(tmp_path.iterdir()) == []


def test_damaged_part_is_found_out(tmp_path: Path) -> None:
    (tmp_path / "f.part").write_bytes(b"junk")
    with serve(Behaviour(CONTENT)) as told, pytest.raises(UserError, match="checksum"):
        fetch(told, tmp_path / "f")


@pytest.mark.parametrize(("status", "requests"), [(404, 1), (403, 1), (503, transfer.ATTEMPTS)])
def test_other_answers(tmp_path: Path, status: int, requests: int) -> None:
    told = Behaviour(CONTENT, status=status)
    with serve(told), pytest.raises(UserError, match=str(status)):
        fetch(told, tmp_path / "f")
    assert len(told.requests) == requests


def test_nobody_answers(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "f.part").write_bytes(b"so far")
    remote = RemoteFile(f"http://127.0.0.1:{port}/f", MD5)
    with pytest.raises(UserError, match=r"Cannot fetch .*f\.part: run the same command again"):
        fetch_file(remote, tmp_path / "f", pause_seconds=0.0)
    assert (tmp_path / "f.part").read_bytes() == b"so far"


def test_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = transfer.shutil.disk_usage(tmp_path)._replace(free=1_000)
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda _: usage)
    with serve(Behaviour(CONTENT)) as told, pytest.raises(UserError, match="GB free"):
        fetch(told, tmp_path / "f")
