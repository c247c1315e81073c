"""`didi-protein info`: versions, device, attention, weights found, extras installed."""

from didi_core.command_options import command_of
from didi_core.commands.info import Info, InfoOptions, show_info


def info(options: InfoOptions | None = None) -> Info:
    """Look at this machine.

    Raises:
        UserError: an unknown device or precision.
    """
    from didi_core.commands.info_run import collect_info
    from didi_protein.info_notes import EXTRAS, notes
    from didi_protein.models import BUNDLED_MODELS

    return collect_info(options or InfoOptions(), BUNDLED_MODELS, EXTRAS, notes())


def _run_command(options: InfoOptions) -> None:
    show_info(info(options), as_json=options.json_output)


info_command = command_of(
    InfoOptions, _run_command, "Show versions, device, attention backend and weights found."
)
