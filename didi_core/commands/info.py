"""What `info` of both programs is asked for, finds, and prints. Imports no torch: help is fast."""

import json
from dataclasses import asdict, dataclass
from typing import Annotated

from typer import Option

from didi_core.command_options import Device, JsonOutput


@dataclass(frozen=True, kw_only=True)
class InfoOptions:
    """What `info` is asked for."""

    device: Device = "auto"
    precision: Annotated[
        str,
        Option(help="Precision that the attention backend is shown for: float32, bf16 or auto."),
    ] = "float32"
    json_output: JsonOutput = False


@dataclass(frozen=True)
class Info:
    """What is installed and found on this machine."""

    versions: dict[str, str]
    device: str
    """The device `--device auto` takes, in words."""
    cuda_devices: list[str]
    attention: str
    """Backend for the device and precision: flash, sdpa, or plain (half precision on a CPU)."""
    extras: dict[str, bool]
    """Optional packages, and whether they are installed."""
    bundled_models: dict[str, bool]
    """Models that ship in the package, and whether their weights are there."""
    hub_cache: str
    """Folder of downloaded models (from HF_HOME)."""
    cached_models: list[str]
    """Hub models in that folder."""
    notes: list[str]
    """What needs the user's attention."""


def show_info(found: Info, *, as_json: bool) -> None:
    """Print on standard output."""
    if as_json:
        print(json.dumps(asdict(found), indent=2))
        return
    for name, value in asdict(found).items():
        print(f"{name.replace('_', ' '):16s} {_in_words(value)}")


def _in_words(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_yes_no(each)}" for key, each in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return str(value)


def _yes_no(value: object) -> str:
    return {True: "(yes)", False: "(no)"}[value] if isinstance(value, bool) else str(value)
