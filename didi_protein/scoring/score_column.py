"""What is known of a column of the table of scores."""

import math
from dataclasses import dataclass
from enum import Enum
from typing import Literal


class Topic(str, Enum):
    """The question that a column answers, under which the documentation lists it."""

    RECORD = "Which record, and what became of it"
    NATURAL = "Does it read like a protein?"
    JUNK = "Is it junk?"
    WORK = "Will it be easy to work with?"
    NEW = "Is it new?"
    FAMILY = "Does it belong to the family?"
    FOLD = "Does it fold?"
    KEPT = "Is the motif kept?"
    MOTIFS = "Motifs that make trouble in the laboratory"


@dataclass(frozen=True, kw_only=True)
class MeanFigure:
    """The mean of a column over a set of designs, with its interval."""

    name: str
    """Key under `set` in `NAME.summary.json`."""
    definition: str = ""
    """What it is, for `definitions` there; "" where what measures the set says it."""


@dataclass(frozen=True, kw_only=True)
class ScoreColumn:
    """One column."""

    name: str
    type: Literal["text", "integer", "number", "yes_no"]
    topic: Topic
    meaning: str
    """A sentence or more for `docs/outputs.md`."""
    computed_by: str
    """Name of the scorer, or of the part of `score` or `filter` that fills it."""
    always: bool = True
    """Whether it stands in every table; False where only in those that have a value in it."""
    low: float = -math.inf
    """Least value it can have."""
    high: float = math.inf
    """Largest value."""
    unit: str = ""
    typical: str = ""
    """Beside the range: what natural proteins have, or what values stand for."""
    better: Literal["highest", "lowest", ""] = ""
    """The end that ranks designs first; "" where that is not plain."""
    advice: str = ""
    """What a designer should look for, where that end is not best without limit."""
    best_without_limit: bool = False
    """Whether a value that is better than nature's is no reason to look twice."""
    over_residues: bool = False
    """Whether it is a mean over the residues of a design: of few residues it is chance."""
    rewards_memory: bool = False
    """Whether it is a likelihood, which a sequence that a model was trained on has by itself."""
    heading: str = ""
    """Short title in reports and in the terminal."""
    written: str = ".4g"
    """Format of a value in the report."""
    zero: str = ""
    """What 0 stands for, where nothing was measured then."""
    on_card: bool = False
    """Whether the report shows it of each design."""
    figure: MeanFigure | None = None
    """Its mean over the set, where `score` takes it."""
    tells: str = ""
    """What its mean tells a designer, on the page of the report; "" where that does not show it."""
    filter_flag: str = ""
    """Flag of `filter` that bounds it; `--min` and `--max` bound any column."""
    score_flag: str = ""
    """Flag of `score` that computes it."""
    otherwise: str = ""
    """What to do where it was not computed and no flag of `score` is enough."""
    compared: str = ""
    """Where empty means that nothing alike was found: the column a compared row has a value in."""

    def write(self, value: float) -> str:
        """Return a value as the report writes it.

        >>> from didi_protein.scoring.columns import COLUMN
        >>> COLUMN["ptm"].write(0), COLUMN["training_identity"].write(0)
        ('0.00', 'none alike')
        """
        return self.zero if self.zero and value == 0 else format(value, self.written)

    @property
    def range(self) -> str:
        """Return the range in words, without the unit; "" where there is none.

        >>> from didi_protein.scoring.columns import COLUMN
        >>> COLUMN["ptm"].range, COLUMN["judge_perplexity"].range, COLUMN["gravy"].range
        ('0 to 1', '1 and up', '-4.5 to 4.5')
        """
        if math.isinf(self.low):
            return ""
        to = "and up" if math.isinf(self.high) else f"to {self.high:.4g}"
        return f"{self.low:g} {to}"

    @property
    def range_and_unit(self) -> str:
        """Return the range in words, with the unit where there is one."""
        return ", in ".join(part for part in (self.range, self.unit) if part)

    @property
    def title(self) -> str:
        """Return the heading as a title: its first letter is a capital unless it is a symbol."""
        heading = self.heading or self.name.replace("_", " ")
        first_word = heading.partition(" ")[0]
        is_symbol = first_word[1:] != first_word[1:].lower()
        return heading if is_symbol else heading[:1].upper() + heading[1:]

    @property
    def plainly_better(self) -> Literal["highest", "lowest", ""]:
        """Return the end that is best for a designer without limit; "" where neither is.

        >>> from didi_protein.scoring.columns import COLUMN
        >>> COLUMN["mean_pae"].plainly_better, COLUMN["gravy"].plainly_better
        ('lowest', '')
        """
        return "" if self.advice else self.better

    @property
    def in_report(self) -> bool:
        """Whether the report needs its numbers."""
        return bool(self.on_card or self.tells or self.figure) or self.name in ("steps", "nfe")

    @property
    def how_to_compute(self) -> str:
        """Return what to do where a table was written without it."""
        if self.score_flag:
            return f"run score with {self.score_flag} (and --resume)"
        return self.otherwise or "write the table again with score"
