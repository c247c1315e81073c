"""`didi-protein generate`: designs from a model, as FASTA.

    didi-protein generate --model tiny-student --num 100 --length 70-82 --steps 8 --out d.fasta

From Python: `generate(GenerateOptions(model="tiny-student", num=100, ...))`. This file imports no
torch, so that `--help` is fast; the work is in `didi_core.commands.generating.run`.
"""

from typing import TYPE_CHECKING

from didi_core.cli.command_options import command_of
from didi_core.commands.generating.options import report_generation
from didi_protein.generating.options import GenerateOptions as GenerateOptions
from didi_protein.generating.options import GenerateResult as GenerateResult

if TYPE_CHECKING:
    from didi_core.models.folder import LoadedModel


def generate(options: GenerateOptions, model: "LoadedModel | None" = None) -> GenerateResult | None:
    """Make designs, write the FASTA file and `NAME.generate.json` beside it.

    Args:
        model: the model that `options.model` names, where it is open already.

    Returns:
        What was made; None in all processes of torchrun but the first, which writes it.

    Raises:
        UserError: an option without sense, an output that exists, a model that cannot be opened.
    """
    from didi_core.commands.generating import run
    from didi_protein.generating.designs import DESIGNS

    made = run.generate(options, DESIGNS, model)
    return None if made is None else GenerateResult(**vars(made))


def _run_command(options: GenerateOptions) -> None:
    result = generate(options)
    if result is not None:
        from didi_protein.next_commands import after_generate

        following = None if options.json_output else after_generate(options, result)
        report_generation(result, "design", as_json=options.json_output, following=following)


generate_command = command_of(
    GenerateOptions, _run_command, "Make designs with a model and write them as FASTA."
)
