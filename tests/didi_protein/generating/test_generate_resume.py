"""`generate` interrupted, resumed, repeated and overwritten."""

import resource
import signal
import subprocess
import time
from pathlib import Path

import pytest
from generate_fixtures import command, design, sequences, write_tiny_model

from didi_core.errors import UserError
from didi_core.io.journal import partial_path

# Many small batches of many steps: about two seconds of work, in which a signal finds its place.
LONG_RUN = {"num": 80, "length": "40-60", "steps": 25, "batch_tokens": 256}


@pytest.fixture(scope="module")
def unbroken(model: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    result = design(model, tmp_path_factory.mktemp("unbroken") / "d.fasta", **LONG_RUN)
    return result.fasta.read_bytes()


def long_run(model: Path, out: Path) -> list[str]:
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in LONG_RUN.items()]
    return command("generate", "--model", model, "--out", out, *flags)


def start_and_signal(model: Path, out: Path, number: signal.Signals) -> int:
    """Start a long run, send a signal when some batches are done, and return its exit status."""
    process = subprocess.Popen(
        long_run(model, out),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        # A shell starts what runs in its background with SIGINT ignored, and children inherit it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 600
    while _finished_batches(out) < 3:
        assert process.poll() is None, process.communicate()[1].decode()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    error = process.communicate(timeout=600)[1].decode()
    assert "Traceback" not in error
    return process.returncode


def _finished_batches(out: Path) -> int:
    path = partial_path(out)
    return path.read_bytes().count(b"\n") - 1 if path.exists() else 0


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 143), (signal.SIGINT, 130)],
    ids=["kill", "term", "int"],
)
def test_an_interrupted_run_resumes_to_the_same_bytes(
    model: Path, unbroken: bytes, tmp_path: Path, number: signal.Signals, status: int
) -> None:
    out = tmp_path / "d.fasta"
    assert start_and_signal(model, out, number) == status
    assert not out.exists(), "half a result never stands under the name"
    kept = _finished_batches(out)
    assert kept >= 3
    with pytest.raises(UserError, match=r"d\.fasta\.partial exists: .*--resume"):
        design(model, out, **LONG_RUN)
    result = design(model, out, **LONG_RUN, resume=True)
    assert out.read_bytes() == unbroken
    assert result.num_designs == 80
    assert not partial_path(out).exists()


def test_a_disk_that_fills_up_loses_nothing_finished(
    model: Path, unbroken: bytes, tmp_path: Path
) -> None:
    """The kernel refuses to let files grow, as it does where the disk is full."""
    out = tmp_path / "d.fasta"
    done = subprocess.run(
        long_run(model, out),
        capture_output=True,
        text=True,
        timeout=600,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000)),
    )
    assert done.returncode == 2, done.stderr
    assert "d.fasta.partial cannot be written" in done.stderr
    assert "continue with --resume" in done.stderr
    assert "Traceback" not in done.stderr
    assert not out.exists()
    assert _finished_batches(out) >= 1
    design(model, out, **LONG_RUN, resume=True)
    assert out.read_bytes() == unbroken


def test_resume_with_other_settings_is_refused_by_name(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "d.fasta"
    result = design(model, out)
    before = out.read_bytes()
    with pytest.raises(UserError, match=r"steps was 4, now 8; .*seed was 0, now 2"):
        design(model, out, steps=8, seed=2, resume=True)
    other = write_tiny_model(tmp_path / "other", seed=5)
    with pytest.raises(UserError, match=r"model was .*weights was"):
        design(other, out, resume=True)
    assert out.read_bytes() == before
    assert result.num_designs == 12


def test_a_model_that_changed_under_its_name_is_noticed(tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path / "m", seed=0)
    design(folder, tmp_path / "d.fasta")
    write_tiny_model(folder, seed=1)
    with pytest.raises(UserError, match=r"weights was \w+, now \w+"):
        design(folder, tmp_path / "d.fasta", resume=True)


def test_resume_starts_where_there_is_nothing_and_leaves_what_is_done(
    model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "new" / "d.fasta"
    first = design(model, out, resume=True)
    written = out.stat().st_mtime_ns
    again = design(model, out, resume=True)
    assert again == first
    assert out.stat().st_mtime_ns == written


def test_an_output_that_exists_is_refused_or_overwritten(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "d.fasta"
    first = sequences(design(model, out))
    with pytest.raises(UserError, match=r"--out .*d\.fasta exists: .*--overwrite"):
        design(model, out, seed=1)
    assert sequences(design(model, out, seed=1, overwrite=True)) != first
    with pytest.raises(UserError, match="exclude each other"):
        design(model, out, resume=True, overwrite=True)


def test_a_file_of_another_origin_is_not_resumed(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "d.fasta"
    out.write_text(">mine\nAAAA\n")
    with pytest.raises(UserError, match=r"--resume: .*d\.fasta is there without"):
        design(model, out, resume=True)
    assert out.read_text() == ">mine\nAAAA\n"
