"""Run parts one after the other, each in a process of its own with a limit of time; one JSON.

A part is a generator of named rows. It runs in a fresh process, so that a fault of the GPU, a lack
of memory or a hang ends that part alone; rows that it had given by then are kept. The file is
written whole after every part.
"""

import multiprocessing
import os
import platform
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from didi_core.io.files import write_json
from didi_core.models.attention import attention_backend
from didi_core.training.devices import TORCH_TYPES, describe_device
from didi_core.training.run_folder import git_revision, package_versions

LEAST_SECONDS = 5.0
"""A part is not begun with less time than this."""
PRELOADED = ["torch", "benchmarks.gpu.parts"]
"""What the process that all parts are forked from imports once."""


@dataclass(frozen=True)
class Bench:
    """Where and how large everything is measured."""

    device: torch.device
    precision: str
    """bf16 or float32."""
    dry: bool
    """Toy sizes: whether everything runs, not how fast."""


Row = dict[str, Any]
Rows = Iterator[tuple[str, Row]]


@dataclass(frozen=True)
class Part:
    """One thing to be learnt on a GPU."""

    name: str
    seconds: float
    """Its share of the time at most."""
    measure: Callable[[Bench], Rows]
    """Must be found by its name from another process."""


@dataclass
class PartRecord:
    """What came of a part."""

    rows: dict[str, Row] = field(default_factory=dict)
    seconds: float = 0.0
    limit: float = 0.0
    """Seconds that it was given."""
    error: str | None = None
    """Why it ended early, where it did."""

    @property
    def failed(self) -> bool:
        return self.error is not None or any("error" in row for row in self.rows.values())


def run_parts(
    parts: Sequence[Part], bench: Bench, out: Path, seconds: float, method: str = "forkserver"
) -> dict[str, PartRecord]:
    """Run the parts in order within `seconds` in all, and write the file after each.

    Args:
        method: how processes are started; see `multiprocessing`.
    """
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload(PRELOADED)
    end, found = time.monotonic() + seconds, {}
    header = describe(bench) | {"start_up_seconds": _start_up(context)}
    for number, part in enumerate(parts, start=1):
        limit = min(part.seconds, end - time.monotonic())
        print(f"{number}/{len(parts)} {part.name}, {max(0, limit):.0f} s at most", file=sys.stderr)
        if limit < LEAST_SECONDS:
            found[part.name] = PartRecord(error="not begun: no time was left", limit=limit)
        else:
            found[part.name] = run_part(part, bench, limit, context)
        write_json(out, header | {"parts": {name: asdict(each) for name, each in found.items()}})
    return found


def _start_up(context: Any) -> float:
    """Have a process do nothing: the first one waits for all imports."""
    started = time.monotonic()
    process = context.Process(target=os.getpid)
    process.start()
    process.join()
    return time.monotonic() - started


def describe(bench: Bench) -> Row:
    """Return what every row was measured on."""
    cuda = bench.device.type == "cuda"
    memory = torch.cuda.get_device_properties(bench.device).total_memory if cuda else None
    return {
        "what": "benchmarks.gpu",
        "dry_run": bench.dry,
        "device": describe_device(bench.device),
        "device_memory_bytes": memory,
        "cuda": torch.version.cuda,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "precision": bench.precision,
        "attention": attention_backend(bench.device, TORCH_TYPES[bench.precision]),
        "versions": package_versions(),
        "git_revision": git_revision(),
    }


def run_part(part: Part, bench: Bench, limit: float, context: Any) -> PartRecord:
    """Run one part in a process of its own, ended after `limit` seconds."""
    record, started = PartRecord(limit=limit), time.monotonic()
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(sender, part.measure, bench))
    process.start()
    sender.close()  # so that the end of the process is the end of the pipe
    try:
        _receive(receiver, record, started + limit)
    finally:
        _end(process, patience=5.0 if record.error is None else 0.0)
    if record.error is None and process.exitcode:
        record.error = f"the process ended with status {process.exitcode}"
    record.seconds = time.monotonic() - started
    return record


def _receive(receiver: Connection, record: PartRecord, end: float) -> None:
    """Take in rows until the part is over or its time is."""
    while receiver.poll(max(0.0, end - time.monotonic())):
        try:
            name, row = receiver.recv()
        except EOFError:
            return
        if name is None:
            record.error = row["error"]
            print(record.error, file=sys.stderr)
            return
        record.rows[name] = row
        print(f"  {name}: {row.get('error', 'done')}", file=sys.stderr)
    record.error = f"ended after its {record.limit:.0f} seconds"


def _end(process: Any, patience: float) -> None:
    """Wait a moment for a process that is done; end one that is not."""
    process.join(patience)
    if process.is_alive():
        process.terminate()
        process.join(5)
    if process.is_alive():
        process.kill()
        process.join()


def _work(sender: Connection, measure: Callable[[Bench], Rows], bench: Bench) -> None:
    """Send every row, then what ended the part where that was an error."""
    try:
        for named in measure(bench):
            sender.send(named)
    except BaseException as error:
        sender.send((None, {"error": in_words(error)}))
    finally:
        sender.close()


def measured(measures: Mapping[str, Callable[[], Row]]) -> Rows:
    """Take every measure; one that fails becomes a row with its error, and the rest goes on."""
    for name, measure in measures.items():
        started = time.perf_counter()
        try:
            row = measure()
        except Exception as error:
            row = {"error": in_words(error)}
        yield name, row | {"seconds_of_row": time.perf_counter() - started}


def in_words(error: BaseException) -> str:
    """Name an error and the line of ours it came from."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{place}"
