"""`didi-text headroom`: how few calls a masked model bears, and what distillation can win.

    didi-text headroom MODEL --data valid.jsonl --out headroom.json --plot headroom.png

Nothing is trained or sampled. From Python:
`headroom(HeadroomOptions(model="tiny", data="valid.jsonl"))`.
This file imports no torch, so that `--help` is fast; the work is in
`didi_core.commands.headroom.run`.
"""

from pathlib import Path

from didi_core.cli.command_options import command_of
from didi_core.commands.headroom.options import HeadroomOptions as HeadroomOptions
from didi_core.commands.headroom.options import HeadroomResult as HeadroomResult


def headroom(options: HeadroomOptions) -> HeadroomResult:
    """Measure a masked model's curve on real sequences, and what few calls lose by it.

    Raises:
        UserError: an option without sense, an output that exists, a model that is not masked or
            cannot be opened, or data that cannot be read.
    """
    from didi_core.commands.headroom.run import run_headroom
    from didi_text.domain import TRAINING

    return run_headroom(options, TRAINING)


def _run_command(options: HeadroomOptions) -> None:
    result = headroom(options)
    from didi_core.cli.command_options import command_line
    from didi_core.cli.next_command import fresh_path, show_next
    from didi_core.commands.headroom.run import show_headroom
    from didi_text.samples.options import GenerateOptions

    show_headroom(result, as_json=options.json_output)
    if result.kept is not None and not options.json_output:
        out = fresh_path(Path("samples.jsonl"), ".generate.json")
        asked = GenerateOptions(
            model=options.model, num=100, length="128", steps=8, grid="best", out=out
        )
        show_next(command_line("didi-text", "generate", asked))


headroom_command = command_of(
    HeadroomOptions,
    _run_command,
    "Measure how few calls a masked model bears, and what distillation can win. Samples nothing.",
)
