"""The samplers that `compare --samplers` names, each with the options it is given.

A word is a name of `generate --sampler`, with settings of `generate --sampler-option` in brackets
where wanted: `ancestral,psi(schedule=loop,eta=0.02)`. `own` is, for each model, the sampler that
its folder names for `generate`, so that rows may differ in it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from didi_core.errors import UserError
from didi_core.models.folder import LoadedModel
from didi_core.sampling.folder_defaults import OWN, own_sampler
from didi_core.sampling.registry import find_sampler
from didi_core.sampling.sampler_options import parse_options

FLAG = "--samplers"
EXAMPLE = '"ancestral,psi(schedule=loop,eta=0.02)"'
_BETWEEN = re.compile(r",(?![^()]*\))")
"""A comma that stands in no brackets."""
_WORD = re.compile(r"\s*([^\s(),=]+)\s*(?:\(([^()]*)\)\s*)?")


@dataclass(frozen=True)
class ChosenSampler:
    """One sampler with its options: one row for each model and number of steps."""

    name: str
    options: tuple[tuple[str, object], ...] = ()
    """Names and values of the options given, in the order of the sampler's settings."""

    def of(self, model: LoadedModel) -> "ChosenSampler":
        """Return the sampler of one model: `own` is what its folder names."""
        return ChosenSampler(own_sampler(model).name) if self.name == OWN else self


def chosen_samplers(text: str, wrong: list[str]) -> tuple[ChosenSampler, ...]:
    """The samplers of a list, each once; what makes no sense is told to `wrong`.

    >>> chosen_samplers("ancestral, psi(eta=0.020,schedule=loop)", [])[1]
    ChosenSampler(name='psi', options=(('schedule', 'loop'), ('eta', 0.02)))
    """
    chosen = []
    for word in filter(str.strip, _BETWEEN.split(text)):
        try:
            chosen.append(_chosen(word))
        except UserError as error:
            wrong.append(str(error).removesuffix("."))
    return tuple(dict.fromkeys(chosen))


def other_than_own(rows: Sequence[tuple[str, str]], opened: Mapping[str, LoadedModel]) -> list[str]:
    """Return a sentence on each model that `generate` would draw by a sampler of none of its rows.

    Args:
        rows: labels of models with the samplers that draw them.
        opened: the models by label.
    """
    notes = []
    for label, loaded in opened.items():
        drawn = list(dict.fromkeys(sampler for model, sampler in rows if model == label))
        named = loaded.config.get("didi", {}).get("sampler")
        if drawn and named not in (None, *drawn):
            notes.append(
                f"The folder of {label} names the sampler {named}, which generate takes; here it "
                f"is drawn by {' and '.join(drawn)}, as asked for ({OWN} in the place of a "
                "sampler is what a model's folder names)."
            )
    return notes


def _chosen(word: str) -> ChosenSampler:
    if word.strip() == OWN:
        return ChosenSampler(OWN)
    found = _WORD.fullmatch(word)
    if found is None:
        raise UserError(
            f"{FLAG} {word.strip()}: give NAME or NAME(OPTION=VALUE,...), between commas and in "
            f"quotes, as in {FLAG} {EXAMPLE}"
        )
    kind = find_sampler(found[1], FLAG)
    if not kind.takes_steps:
        raise UserError(
            f"{FLAG} {kind.name} takes no steps: leave it out, the limit of a masked teacher is "
            "always there"
        )
    inside = re.sub(r"\s*=\s*", "=", found[2] or "")
    pairs = [pair for each in inside.split(",") if (pair := each.strip())]
    options = parse_options(pairs, f"{FLAG} {kind.name}: ")
    if len(options) < len(pairs):
        raise UserError(f"{FLAG} {word.strip()}: give each option once")
    settings = kind.read(options, f"{FLAG} {kind.name}: ")
    values = {} if settings is None else asdict(settings)
    return ChosenSampler(kind.name, tuple((key, values[key]) for key in values if key in options))
