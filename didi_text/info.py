"""`didi-text info`: versions, device, attention, weights found, extras installed."""

from didi_core.cli.command_options import command_of
from didi_core.commands.info import Info, InfoOptions, show_info

EXTRAS = ("flash_attn", "datasets", "matplotlib", "mauve", "lm_eval")


def info(options: InfoOptions | None = None) -> Info:
    """Look at this machine.

    Raises:
        UserError: an unknown device or precision, or CUDA where there is none.
    """
    from didi_core.commands.info import collect_info
    from didi_text.models.load import BUNDLED_MODELS

    return collect_info(options or InfoOptions(), BUNDLED_MODELS, EXTRAS)


def _run_command(options: InfoOptions) -> None:
    show_info(info(options), as_json=options.json_output)


info_command = command_of(
    InfoOptions, _run_command, "Show versions, device, attention backend and weights found."
)
