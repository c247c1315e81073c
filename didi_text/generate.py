"""`didi-text generate`: text from a model, as JSONL or plain text.

    didi-text generate --model runs/student --num 8 --length 128 --steps 16 --out samples.jsonl

From Python: `generate(GenerateOptions(model="runs/student", num=8, ...))`. This file imports no
torch, so that `--help` is fast; the work is in `didi_core.commands.generating.run`.
"""

from typing import TYPE_CHECKING

from didi_core.cli.command_options import command_of
from didi_core.commands.generating.options import GenerationResult, report_generation
from didi_text.samples.options import GenerateOptions as GenerateOptions

if TYPE_CHECKING:
    from didi_core.models.folder import LoadedModel


def generate(
    options: GenerateOptions, model: "LoadedModel | None" = None
) -> GenerationResult | None:
    """Make samples, write the output and `NAME.generate.json` beside it.

    Args:
        model: the model that `options.model` names, where it is open already.

    Returns:
        What was made; None in all processes of torchrun but the first, which writes it.

    Raises:
        UserError: an option without sense, an output that exists, a model that cannot be opened.
    """
    from didi_core.commands.generating import run
    from didi_text.samples.samples import SAMPLES

    return run.generate(options, SAMPLES, model)


def _run_command(options: GenerateOptions) -> None:
    result = generate(options)
    if result is not None:
        report_generation(result, "sample", as_json=options.json_output)


generate_command = command_of(
    GenerateOptions, _run_command, "Make text with a model and write it as JSONL or plain text."
)
