"""`didi-protein push`: upload a model folder to the Hugging Face hub.

    didi-protein push my-student --repo your-name/my-student --license cc-by-4.0

The folder is opened first, so that what others fetch works. This file imports no torch at the top,
so that `--help` is fast.
"""

from pathlib import Path

from didi_core.cli.command_options import command_of
from didi_core.commands.hub import PushOptions, PushResult, report_push

__all__ = ["PushOptions", "PushResult", "push", "push_command"]


def push(options: PushOptions) -> PushResult:
    """Check a model folder and upload it.

    Raises:
        UserError: see `didi_core.commands.hub.push_folder`.
    """
    from didi_core.commands.hub import push_folder
    from didi_core.models.named import is_causal
    from didi_protein.models.judges import open_judge
    from didi_protein.models.load import open_model

    def open_whole(folder: Path) -> object:
        return open_judge(str(folder)) if is_causal(folder) else open_model(folder)

    return push_folder(options, "didi-protein", open_whole)


def _run_command(options: PushOptions) -> None:
    report_push(push(options), as_json=options.json_output)


push_command = command_of(
    PushOptions, _run_command, "Upload a model folder to the Hugging Face hub."
)
