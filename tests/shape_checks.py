"""The checker of signatures that `conftest.py` hooks in: beartype, and what three types mean."""

import beartype
import typer

PAIR = tuple[float, float]

# A whole number is a float here, as it is for any static checker; a pair of settings is a list
# where it comes from a configuration, whatever the type OmegaConf was given; and Typer hands on the
# context that its own is derived from.
check = beartype.beartype(
    conf=beartype.BeartypeConf(
        is_pep484_tower=True,
        hint_overrides=beartype.FrozenDict(
            {
                PAIR: PAIR | list[float],
                typer.Context: typer.Context | typer.Context.__base__,
            }
        ),
    )
)
