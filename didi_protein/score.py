"""`didi-protein score`: one row of scores for every sequence, and the figures of the whole set.

    didi-protein score designs.fasta --out scores.csv --reference natural.fasta.gz

From Python: `score(ScoreOptions(inputs=["designs.fasta"], out=Path("scores.csv")))`. This file
imports no torch, so that `--help` is fast; the work is in `didi_protein.scoring.run`.
"""

from typing import TYPE_CHECKING

from didi_core.cli.command_options import command_of
from didi_core.errors import RecordsFailed
from didi_protein.scoring.options import ScoreOptions as ScoreOptions
from didi_protein.scoring.options import ScoreResult as ScoreResult

if TYPE_CHECKING:
    from didi_protein.models.judges import Judge, MaskedScorer


def score(
    options: ScoreOptions,
    judge: "Judge | None" = None,
    masked: "MaskedScorer | None" = None,
) -> ScoreResult | None:
    """Score every record of the inputs; write the table and `NAME.summary.json` beside it.

    Under torchrun the processes share the work; the first one writes, and has the result.

    Args:
        judge: the judge that `options.judge` names, where it is open already.
        masked: the masked model that `options.pseudo` names, likewise, in float32.

    Raises:
        UserError: an input that cannot be read, a model that cannot be opened, an output that
            exists. Records that cannot be scored are rows of the result, not errors.
    """
    from didi_protein.scoring.run import run_score

    return run_score(options, judge, masked)


def _run_command(options: ScoreOptions) -> None:
    result = score(options)
    if result is None:  # another process of torchrun reports
        return
    if options.json_output:
        print(result.summary_file.read_text(encoding="utf-8"), end="")
    else:
        from didi_core.cli.next_command import show_next
        from didi_protein.next_commands import after_score
        from didi_protein.scoring.show import print_summary

        print_summary(result)
        show_next(after_score(options, result))
    if result.num_failed:
        from didi_protein.scoring.table import first_failure

        reason = first_failure(result.table.to_dict("records"))
        raise RecordsFailed(result.num_failed, len(result.table), str(result.out), reason)


score_command = command_of(
    ScoreOptions,
    _run_command,
    "Score sequences: one row each, in input order, and the figures of the whole set.",
)
