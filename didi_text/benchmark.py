"""`didi-text benchmark`: quality and speed of models over step counts, in one table.

    didi-text benchmark --models teacher,student --steps 8,16,limit --out study

Samples of every model at every number of steps are judged (perplexity, entropy, repetition) and
timed (seconds a sample, tokens a second), and so are those of an autoregressive baseline with its
key-value cache. Published figures stand beside them, marked. With several --temperatures the cells
are also compared at equal entropy. With --resume finished cells are kept. This file imports no
torch, so that `--help` is fast; the work is in `didi_text.benchmarking.run`.
"""

from didi_core.cli.command_options import (
    command_of,
)
from didi_core.errors import RecordsFailed
from didi_text.benchmarking.options import BenchmarkOptions as BenchmarkOptions
from didi_text.benchmarking.options import BenchmarkResult as BenchmarkResult


def benchmark(options: BenchmarkOptions) -> BenchmarkResult:
    """Sample, judge, time and tabulate.

    Returns:
        The record; in each process of torchrun all of it, of which the first writes the files.

    Raises:
        UserError: an option without sense, an output that exists or was made with other settings,
            a model that cannot be opened.
    """
    from didi_text.benchmarking.run import run_benchmark

    return run_benchmark(options)


def _run_command(options: BenchmarkOptions) -> None:
    from didi_core.commands.processes import join_processes

    result = benchmark(options)
    if not join_processes().is_first:
        return
    if options.json_output:
        print((result.out / "benchmark.json").read_text(encoding="utf-8"), end="")
    else:
        from didi_text.benchmarking.matched import matched_in_words
        from didi_text.benchmarking.table import printed

        print("\n\n".join(filter(None, (printed(result), matched_in_words(result)))))
    if result.failed:
        num_sets = result.record["num_sets"]
        raise RecordsFailed(len(result.failed), num_sets, str(result.out / "benchmark.json"))


benchmark_command = command_of(
    BenchmarkOptions,
    _run_command,
    "Measure perplexity, entropy, latency and throughput of models over step counts.",
)
