"""`didi-text info`: versions of what is installed, and the device it would compute on."""

import json
from dataclasses import asdict, dataclass

from didi_core.command_options import Device, JsonOutput, command_of


@dataclass(frozen=True, kw_only=True)
class InfoOptions:
    """What `info` is asked for."""

    device: Device = "auto"
    json_output: JsonOutput = False


@dataclass(frozen=True)
class Info:
    """What is installed on this machine."""

    versions: dict[str, str]
    device: str
    """The device `--device auto` takes."""


def info(options: InfoOptions | None = None) -> Info:
    """Look at this machine.

    Raises:
        UserError: an unknown device, or CUDA where there is none.
    """
    from didi_core.training.devices import resolve_device
    from didi_core.training.run_folder import package_versions

    options = options or InfoOptions()
    return Info(package_versions(), str(resolve_device(options.device)))


def _run_command(options: InfoOptions) -> None:
    found = info(options)
    if options.json_output:
        print(json.dumps(asdict(found), indent=2))
        return
    print("versions ", ", ".join(f"{name} {version}" for name, version in found.versions.items()))
    print("device   ", found.device)


info_command = command_of(InfoOptions, _run_command, "Show versions and the device.")
