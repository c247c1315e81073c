"""`didi-protein merge`: put together what `--shard i/n` wrote apart.

    didi-protein merge part.1.fasta part.2.fasta part.3.fasta --out designs.fasta

Takes FASTA files of `generate`, or tables of `score` or of `scan`; records come back in the order
of the whole. Beside each shard stands the JSON file in which it says which records it holds.
"""

from didi_core.cli.command_options import command_of
from didi_core.cli.run import check_output
from didi_core.commands.merge import MergeOptions, MergeResult, ShardsMissing, report_merge

__all__ = ["MergeOptions", "MergeResult", "ShardsMissing", "merge", "merge_command"]


def merge(options: MergeOptions) -> MergeResult:
    """Merge shards in the order of the whole.

    Raises:
        ShardsMissing: the exit status is 1.
        UserError: an input that was not written with `--shard`, shards of different requests, or
            an output that exists.
    """
    from didi_protein.scoring.merge import run_merge

    check_output(options.out, overwrite=options.overwrite)
    return run_merge(options.shards, options.out)


def _run_command(options: MergeOptions) -> None:
    from didi_protein.next_commands import after_merge

    result = merge(options)
    following = None if options.json_output else after_merge(options)
    report_merge(result, as_json=options.json_output, following=following)


merge_command = command_of(
    MergeOptions, _run_command, "Put together what --shard wrote apart, in the original order."
)
