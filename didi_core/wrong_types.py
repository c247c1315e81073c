"""A setting's value of the wrong type in plain words: OmegaConf names classes of its own."""

import re

from omegaconf.errors import OmegaConfBaseException

_KINDS = {"Integer": "a whole number", "Float": "a number"}


def wrong_type(error: Exception, prefix: str = "") -> str | None:
    """What the value must be, with the setting's name; None where the error is another.

    Args:
        prefix: where the settings lie, as in `method.`.

    >>> from omegaconf import OmegaConf
    >>> from didi_core.distill.optimizers import OptimizerSettings
    >>> try:
    ...     OmegaConf.merge(OmegaConf.structured(OptimizerSettings), {"lr": "small"})
    ... except OmegaConfBaseException as error:
    ...     wrong_type(error, "optimizer.")
    'optimizer.lr=small must be a number'
    """
    lines = str(error).splitlines()
    keys = [line.partition("full_key:")[2].strip() for line in lines if "full_key:" in line]
    if not isinstance(error, OmegaConfBaseException) or not keys or not keys[0]:
        return None
    named = f"{prefix}{keys[0]}"
    if found := re.match(r"Value '(.*)' of type '.*' could not be converted to (\w+)", lines[0]):
        return f"{named}={found[1]} must be {_KINDS.get(found[2], found[2])}"
    if found := re.match(r"Value '(.*)' is not a valid bool", lines[0]):
        return f"{named}={found[1]} must be true or false"
    return None
