"""The thresholds that the flags of `filter` ask for; all that is wrong is said at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from didi_core.errors import UserError
from didi_protein.filter import FilterOptions


@dataclass(frozen=True)
class Bound:
    """A threshold as asked for."""

    flag: str
    column: str
    bound: float
    is_minimum: bool


@dataclass(frozen=True)
class _Flag:
    """A column that has a flag of its own."""

    column: str
    is_minimum: bool
    low: float
    high: float
    unit: str


_FLAGS = {
    "min_plddt": _Flag("mean_plddt", True, 0, 100, "0 to 100"),
    "min_ptm": _Flag("ptm", True, 0, 1, "0 to 1"),
    "max_pae": _Flag("mean_pae", False, 0, float("inf"), "0 and up, in ångström"),
    "max_judge_perplexity": _Flag("judge_perplexity", False, 1, float("inf"), "1 and up"),
    "max_repeat": _Flag("repeat_fraction", False, 0, 1, "0 to 1"),
    "max_identity": _Flag("nearest_reference_identity", False, 0, 1, "0 to 1"),
}


def name_of_flag(field: str) -> str:
    return "--" + field.replace("_", "-")


def bounds_of(options: FilterOptions) -> list[Bound]:
    """Every threshold asked for, flags of their own first.

    Raises:
        UserError: values out of range, or a --min or --max that cannot be read; all of them.
    """
    problems: list[str] = []
    bounds = [*_own_flags(options, problems)]
    if options.foldable:
        bounds.append(Bound("--foldable", "foldable", 1.0, True))
    for flag, texts in (("--min", options.minimum), ("--max", options.maximum)):
        bounds += _general_flags(flag, texts or [], problems)
    if options.top is not None and options.top < 1:
        problems.append(f"--top {options.top}: give a number of 1 or more.")
    if options.max_similarity is not None and not 0 <= options.max_similarity <= 1:
        problems.append(f"--max-similarity {options.max_similarity:g}: give 0 to 1.")
    raise_all(problems)
    return bounds


def raise_all(problems: Sequence[str]) -> None:
    if problems:
        raise UserError("\n".join(problems))


def _own_flags(options: FilterOptions, problems: list[str]) -> Iterator[Bound]:
    for field, flag in _FLAGS.items():
        bound = getattr(options, field)
        if bound is None:
            continue
        if not flag.low <= bound <= flag.high:
            problems.append(f"{name_of_flag(field)} {bound:g}: {flag.column} is {flag.unit}.")
        elif field == "min_plddt" and 0 < bound <= 1:
            problems.append(
                f"--min-plddt {bound:g}: pLDDT is 0 to 100 here; say {100 * bound:g} if that is "
                "what you mean."
            )
        yield Bound(name_of_flag(field), flag.column, bound, flag.is_minimum)


def _general_flags(flag: str, texts: Sequence[str], problems: list[str]) -> Iterator[Bound]:
    for text in texts:
        column, _, number = text.partition("=")
        try:
            bound = float(number)
        except ValueError:
            bound = float("nan")
        if not column or bound != bound:
            problems.append(f"{flag} {text}: write COLUMN=NUMBER, as in {flag} gravy=0.")
        yield Bound(f"{flag} {column}", column, bound, flag == "--min")
