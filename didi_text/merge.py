"""`didi-text merge`: put together what `generate --shard i/n` wrote apart.

    didi-text merge part.1.jsonl part.2.jsonl part.3.jsonl --out samples.jsonl

Samples come back in the order of the whole. Beside each shard stands the JSON file in which it
says which records it holds. With `--out samples.txt` the texts alone are written.
"""

from pathlib import Path
from typing import Any

from didi_core.cli.command_options import command_of
from didi_core.cli.run import check_output
from didi_core.commands.merge import MergeOptions, MergeResult, report_merge
from didi_core.errors import UserError


def merge(options: MergeOptions) -> MergeResult:
    """Merge shards in the order of the whole.

    Raises:
        ShardsMissing: the exit status is 1.
        UserError: an input that was not written with `--shard`, shards of different requests, or
            an output that exists.
    """
    from didi_core.commands.generating.files import generate_json_path
    from didi_core.commands.merge import RecordFormat, merge_generated, open_shards
    from didi_text.samples.files import SUFFIXES, read_samples, write_samples

    out = options.out
    if Path(out.name.removesuffix(".gz")).suffix not in SUFFIXES:
        raise UserError(
            f"--out {out}: the name must end in {', '.join(SUFFIXES)}, or that and .gz."
        )
    check_output(out, overwrite=options.overwrite)
    form = RecordFormat("sample", read_samples, write_samples, _describe)
    return merge_generated(open_shards(options.shards, generate_json_path), out, form)


def _describe(record: dict[str, Any]) -> tuple[str, str, int]:
    return record["id"], record["text"], int(record.get("tries", 1))


def _run_command(options: MergeOptions) -> None:
    report_merge(merge(options), as_json=options.json_output)


merge_command = command_of(
    MergeOptions, _run_command, "Put together what --shard wrote apart, in the original order."
)
