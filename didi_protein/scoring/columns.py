"""Every column of the table of scores, and all that is known of each: who needs to know asks here.

    COLUMN["mean_plddt"].better          # "highest"
    names_by("properties")               # the columns that the letters alone give

A new score is an entry here and what computes it: `docs/adding-a-score.md`. The tables of
`docs/outputs.md` and `docs/filter.md` are made from the entries: `make tables` writes them.
"""

import math
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


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
    topic: str
    """Under which the documentation lists it."""
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

        >>> COLUMN["ptm"].write(0), COLUMN["training_identity"].write(0)
        ('0.00', 'none alike')
        """
        return self.zero if self.zero and value == 0 else format(value, self.written)

    @property
    def range(self) -> str:
        """Return the range in words, without the unit; "" where there is none.

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


_RECORD = "Which record, and what became of it"
_NATURAL = "Does it read like a protein?"
_JUNK = "Is it junk?"
_WORK = "Will it be easy to work with?"
_NEW = "Is it new?"
_FAMILY = "Does it belong to the family?"
_FOLD = "Does it fold?"
_KEPT = "Is the motif kept?"
_MOTIFS = "Motifs that make trouble in the laboratory"

_READS = "Lower reads more natural; far below nature it may be repeats or copies"
_METRICS = (
    "score the whole set with the extra metrics installed (pip install 'didi-protein[metrics]'); "
    "merge fills it in for shards"
)


def _motif(name: str, meaning: str) -> ScoreColumn:
    """Return the column of a motif that `filter` counts: the fewer the better."""
    return ScoreColumn(
        name=name,
        type="integer",
        topic=_MOTIFS,
        meaning=meaning,
        computed_by="motifs",
        always=False,
        low=0,
        better="lowest",
    )


_ENTRIES = (
    ScoreColumn(
        name="id",
        type="text",
        topic=_RECORD,
        meaning="First word of the header, never touched where it is unique. A repeated id becomes "
        "`id#2`, `id#3`; a record without one is `unnamed`. A structure file whose name has blanks "
        "gets a word (`model_1`), and its name stands in `header_name`.",
        computed_by="record",
    ),
    ScoreColumn(
        name="length",
        type="integer",
        topic=_RECORD,
        meaning="Residues of `sequence`.",
        computed_by="record",
        low=0,
    ),
    ScoreColumn(
        name="status",
        type="text",
        topic=_RECORD,
        meaning="`ok`; `invalid`: letters that are no residue; `too_long`: longer than a model "
        "reads, or than `--max-length`; `oom`: out of memory, even alone; `failed`: something else "
        "went wrong. Only `ok` rows count in the summary. Any other makes the command end with "
        "status 1.",
        computed_by="record",
    ),
    ScoreColumn(
        name="error",
        type="text",
        topic=_RECORD,
        meaning="The reason, in words, where the status is not `ok`.",
        computed_by="record",
    ),
    ScoreColumn(
        name="model",
        type="text",
        topic=_RECORD,
        meaning="What wrote it, from the header.",
        computed_by="header",
    ),
    ScoreColumn(
        name="sampler",
        type="text",
        topic=_RECORD,
        meaning="Its sampler, from the header.",
        computed_by="header",
    ),
    ScoreColumn(
        name="steps",
        type="integer",
        topic=_RECORD,
        meaning="Denoising steps asked for, from the header.",
        computed_by="header",
        low=0,
    ),
    ScoreColumn(
        name="nfe",
        type="integer",
        topic=_RECORD,
        meaning="Network calls made for it, from the header.",
        computed_by="header",
        low=0,
    ),
    ScoreColumn(
        name="seed",
        type="integer",
        topic=_RECORD,
        meaning="Of the run, from the header.",
        computed_by="header",
        low=0,
    ),
    ScoreColumn(
        name="sequence",
        type="text",
        topic=_RECORD,
        meaning="As scored: with `--clean`, after mending.",
        computed_by="record",
    ),
    ScoreColumn(
        name="mean_plddt",
        type="number",
        topic=_FOLD,
        meaning="Mean over alpha carbons of the predicted local accuracy. Above 90 very high, 70 "
        "to 90 confident, below 50 probably disordered.",
        computed_by="fold",
        low=0,
        high=100,
        better="highest",
        over_residues=True,
        heading="pLDDT",
        written=".1f",
        on_card=True,
        figure=MeanFigure(
            name="mean_plddt",
            definition="mean over designs of the mean pLDDT over C-alpha atoms, 0 to 100",
        ),
        tells="The folding model's confidence in the structure it predicts, 0 to 100, averaged "
        "over the alpha carbons and the designs. Above 70 the fold is likely right; above 90 also "
        "its details.",
        filter_flag="--min-plddt",
        score_flag="--fold MODEL",
    ),
    ScoreColumn(
        name="mean_plddt_all_atom",
        type="number",
        topic=_FOLD,
        meaning="The same over all atoms: what DPLM's scripts and fair-esm print.",
        computed_by="fold",
        low=0,
        high=100,
        better="highest",
        over_residues=True,
        score_flag="--fold MODEL",
    ),
    ScoreColumn(
        name="ptm",
        type="number",
        topic=_FOLD,
        meaning="Predicted TM-score of the whole chain; above 0.5 the fold is probably right.",
        computed_by="fold",
        low=0,
        high=1,
        better="highest",
        over_residues=True,
        heading="pTM",
        written=".2f",
        on_card=True,
        figure=MeanFigure(name="ptm"),
        tells="The folding model's confidence in the overall shape, 0 to 1. Above 0.5 the overall "
        "fold is likely right.",
        filter_flag="--min-ptm",
        score_flag="--fold MODEL",
    ),
    ScoreColumn(
        name="mean_pae",
        type="number",
        topic=_FOLD,
        meaning="Mean predicted aligned error over all pairs of residues; low means that the parts "
        "are placed well against each other.",
        computed_by="fold",
        low=0,
        unit="Å",
        typical="ESMFold gives 0.25 to 31.75",
        better="lowest",
        over_residues=True,
        heading="PAE",
        written=".1f",
        on_card=True,
        figure=MeanFigure(name="mean_pae"),
        tells="The error the folding model expects in where residues lie to each other, in "
        "ångström, averaged over all pairs and the designs. Below 10 the parts of a design are "
        "placed with some confidence.",
        filter_flag="--max-pae",
        score_flag="--fold MODEL",
    ),
    ScoreColumn(
        name="foldable",
        type="yes_no",
        topic=_FOLD,
        meaning="pLDDT > 80 and pTM > 0.7 and PAE < 10, or the thresholds given as flags.",
        computed_by="thresholds",
        typical="true, false",
        better="highest",
        heading="foldable",
        written=".0%",
        figure=MeanFigure(
            name="foldable_fraction",
            definition="share of designs that pass every threshold of foldable",
        ),
        tells="The share of designs that pass the folding rule of the score table (its thresholds "
        "are in the definitions below).",
        score_flag="--fold MODEL",
    ),
    ScoreColumn(
        name="pdb_file",
        type="text",
        topic=_FOLD,
        meaning="Structure file, relative to the table; pLDDT stands in its B-factors.",
        computed_by="fold",
    ),
    ScoreColumn(
        name="judge_perplexity",
        type="number",
        topic=_NATURAL,
        meaning="How many residues the judge, an autoregressive model that had no part in making "
        "the design, hesitates between at each position. **Lower reads more natural.** The end of "
        "the sequence is not scored. Compare only under the same judge, and only beside the "
        "reference rows of the summary: *natural held-out* is what a real protein scores, "
        "*residue-shuffled* what the same letters score in random order. Much lower than natural "
        "is no triumph: repeats and copies score low. Short proteins score higher than long ones, "
        "so both rows are of the lengths of the table, as far as the judge's folder has natural "
        "proteins of them. [Where most rows read no better than shuffled](#the-yardsticks), the "
        "judge does not know such proteins and ranks chance.",
        computed_by="judge",
        low=1,
        typical="about 18 for residues drawn by their natural frequencies",
        better="lowest",
        advice=_READS,
        over_residues=True,
        rewards_memory=True,
        heading="judge perplexity",
        written=".2f",
        on_card=True,
        tells="How surprised an independent protein language model is by the sequences: about the "
        "number of residues it hesitates between at each position. 20 is pure guessing; natural "
        "proteins show what is good. Repeats and copies score well too, so read it together with "
        "the columns to its right.",
        filter_flag="--max-judge-perplexity",
        score_flag="--judge tiny-judge",
    ),
    ScoreColumn(
        name="pseudo_perplexity",
        type="number",
        topic=_NATURAL,
        meaning="The same idea from a masked model (`--pseudo`): each residue is hidden in turn "
        "and predicted from all others. Exact, divided by the length, over the 20 residues. One "
        "network call a residue: the slowest column. With `--pseudo tiny` the judge is the teacher "
        "itself, so a student imitating it scores well by design; an ESM-2 (`--pseudo "
        "esm2_t12_35M_UR50D`) is independent.",
        computed_by="pseudo",
        low=1,
        better="lowest",
        advice=_READS,
        over_residues=True,
        rewards_memory=True,
        score_flag="--pseudo MODEL",
    ),
    ScoreColumn(
        name="pseudo_perplexity_one_pass",
        type="number",
        topic=_NATURAL,
        meaning="An approximation from one network call, with nothing hidden. Computed for ESM-2 "
        "alone, which was also trained to predict residues it can see; empty for DPLM and for our "
        "models, where it would mean nothing. It flatters every sequence: never compare it with "
        "the exact column.",
        computed_by="pseudo",
        low=1,
        better="lowest",
        advice=_READS,
        over_residues=True,
        rewards_memory=True,
        score_flag="--pseudo MODEL",
    ),
    ScoreColumn(
        name="repeat_fraction",
        type="number",
        topic=_JUNK,
        meaning="Share of residues that lie in a word of four occurring more than once in the "
        "sequence, side by side or far apart, or in a run of four of one letter. Long sequences "
        "repeat words by chance: 0.05 at 500 residues. **Above 0.2, look at the sequence.**",
        computed_by="properties",
        low=0,
        high=1,
        typical="natural: mean 0.04, median 0.02; one in ten above 0.10, one in a hundred above "
        "0.38",
        better="lowest",
        advice="As few as nature has will do; above 20%, look at the sequence",
        over_residues=True,
        heading="repeats",
        written=".0%",
        on_card=True,
        tells="The share of residues inside repeats (four residues that occur again in the same "
        "design, or a run of one letter), averaged over the designs. Well above natural is a "
        "warning: a model may score repeats highly that will not fold.",
        filter_flag="--max-repeat",
    ),
    ScoreColumn(
        name="low_complexity_fraction",
        type="number",
        topic=_JUNK,
        meaning="Share of residues in stretches of few kinds of letters, after SEG: windows of 12 "
        "of at most 2.2 bits, extended over windows of at most 2.5 bits.",
        computed_by="properties",
        low=0,
        high=1,
        typical="natural: mean 0.08, median 0.04; one in ten above 0.22",
        better="lowest",
        advice="As little as nature has will do",
        over_residues=True,
        heading="low complexity",
    ),
    ScoreColumn(
        name="aa_entropy",
        type="number",
        topic=_JUNK,
        meaning="Entropy of the sequence's own composition. 0: one residue only. It does not "
        "notice copies.",
        computed_by="properties",
        low=0,
        high=math.log(20),
        unit="nats",
        typical="natural: nine in ten from 2.57 to 2.90",
        better="highest",
        advice="Within nature's range is good; below it few kinds of residues are used",
        over_residues=True,
        heading="residue entropy",
    ),
    ScoreColumn(
        name="instability_index",
        type="number",
        topic=_WORK,
        meaning="From dipeptide statistics; below 40 is called stable.",
        computed_by="properties",
        typical="natural: 19 to 61, median 38",
        better="lowest",
        advice="Below 40 is called stable",
        over_residues=True,
        heading="instability",
        written=".0f",
        on_card=True,
    ),
    ScoreColumn(
        name="gravy",
        type="number",
        topic=_WORK,
        meaning="Mean hydropathy (Kyte and Doolittle); soluble proteins are usually below 0.",
        computed_by="properties",
        low=-4.5,
        high=4.5,
        typical="natural: -0.8 to 0.6",
        better="lowest",
        advice="Soluble proteins are usually below 0",
        over_residues=True,
        heading="GRAVY",
    ),
    ScoreColumn(
        name="isoelectric_point",
        type="number",
        topic=_WORK,
        meaning="pH of no net charge; proteins are least soluble near it.",
        computed_by="properties",
        typical="about 4 to 12; natural: 4.7 to 9.9",
        heading="pI",
        written=".1f",
        on_card=True,
    ),
    ScoreColumn(
        name="molecular_weight",
        type="number",
        topic=_WORK,
        meaning="Average masses, with one water.",
        computed_by="properties",
        low=0,
        unit="Da",
    ),
    ScoreColumn(
        name="nearest_reference",
        type="text",
        topic=_NEW,
        meaning="Id of the reference of highest identity among those that align with at least 70% "
        "of this sequence. Empty: there is none, which for a designer is good news.",
        computed_by="neighbours",
    ),
    ScoreColumn(
        name="nearest_reference_identity",
        type="number",
        topic=_NEW,
        meaning="Identical residues over columns of that alignment, gaps included. 0.3 and below "
        "hardly says anything; 0.4 is a relative; 0.95 a copy.",
        computed_by="neighbours",
        low=0,
        high=1,
        better="lowest",  # new rather than known
        advice="Lower is newer, not better; 95% and above is a copy",
        heading="identity to nearest natural",
        written=".0%",
        on_card=True,
        filter_flag="--max-identity",
        score_flag="--reference NATURAL.fasta",
        compared="sequence",
    ),
    ScoreColumn(
        name="max_reference_tm",
        type="number",
        topic=_NEW,
        meaning="TM-score to the nearest structure of `--reference` when that is a folder of "
        "structures and Foldseek is on the path ([structures](structures.md)).",
        computed_by="structures",
        low=0,
        high=1,
        better="lowest",
        advice="Lower is a newer fold, not a better one",
        heading="TM to the nearest reference",
        figure=MeanFigure(name="max_reference_tm"),
        otherwise="run score with --reference FOLDER of structures, and Foldseek on the path",
        compared="pdb_file",
    ),
    ScoreColumn(
        name="cluster",
        type="integer",
        topic=_NEW,
        meaning="Designs of one number resemble each other: at least 40% identity over at least "
        "70% of both. Numbered by first appearance. Empty in a shard: `merge` fills it in.",
        computed_by="clusters",
        low=1,
        otherwise=_METRICS,
    ),
    ScoreColumn(
        name="family_bits",
        type="number",
        topic=_FAMILY,
        meaning="Score of the whole sequence under the family's profile (HMMER). Sequences whose "
        "columns are drawn independently of each other score nearly as well: high bits are "
        "membership, not quality. Empty: it does not align.",
        computed_by="family",
        unit="bits",
        better="highest",
        advice="Higher is surer to be a member, not a better one",
        rewards_memory=True,
        heading="family bits",
        written=".1f",
        on_card=True,
        score_flag="--family ALIGNMENT",
    ),
    ScoreColumn(
        name="family_evalue",
        type="number",
        topic=_FAMILY,
        meaning="Unrelated sequences expected to score as high among 10,000, however many were "
        "scored.",
        computed_by="family",
        low=0,
        high=10,
        better="lowest",
        advice="Lower is surer to be a member, not a better one",
        rewards_memory=True,
        score_flag="--family ALIGNMENT",
    ),
    ScoreColumn(
        name="family_coverage",
        type="number",
        topic=_FAMILY,
        meaning="Share of the profile's match columns that hold a residue of it.",
        computed_by="family",
        low=0,
        high=1,
        better="highest",
        advice="Low: parts of the family's domain are missing",
        heading="family coverage",
        written=".0%",
        on_card=True,
        score_flag="--family ALIGNMENT",
    ),
    ScoreColumn(
        name="training_identity",
        type="number",
        topic=_NEW,
        meaning="Identity to the nearest sequence that the model was trained on, in the same "
        "alignment. **0.95 and above is a copy: memory, not design.** 0: none aligns. Empty: not "
        "looked for. Of a design with a `parent` in its header, training sequences that are copies "
        "of that parent do not count.",
        computed_by="training",
        low=0,
        high=1,
        better="lowest",
        advice="95% and above is a copy; below that, lower is newer, not better",
        heading="identity to training",
        written=".0%",
        zero="none alike",
        on_card=True,
        score_flag="--training F.fasta",
    ),
    ScoreColumn(
        name="training_identity_estimate",
        type="number",
        topic=_NEW,
        meaning="The same, estimated from the `training.sketch` of the model's folder, where the "
        "training sequences are not at hand: [how good it is](#the-training-sketch).",
        computed_by="training",
        low=0,
        high=1,
        better="lowest",
        advice="95% and above is a copy; below that, lower is newer, not better",
        heading="identity to training, estimated",
        written=".0%",
        zero="none alike",
        on_card=True,
        otherwise="score with the model's folder, which holds a training.sketch, where the header "
        "says it is; or with --training F.fasta",
    ),
    ScoreColumn(
        name="parent",
        type="text",
        topic=_RECORD,
        meaning="What the design was made from, from the header: an id, or the sequence itself "
        "([what it changes](#is-it-new)).",
        computed_by="header",
    ),
    ScoreColumn(
        name="parent_identity",
        type="number",
        topic=_RECORD,
        meaning="Identity to the parent as the header states it; `score` does not compute it.",
        computed_by="header",
        low=0,
        high=1,
        otherwise="state it in the headers of the designs, as parent_identity=0.87",
    ),
    ScoreColumn(
        name="fold_model",
        type="text",
        topic=_FOLD,
        meaning="The folding model of these columns, as `--fold` names it: the first, where it "
        "names two.",
        computed_by="thresholds",
        score_flag="--fold MODEL",
    ),
    # What follows stands in a table only where it has a value.
    ScoreColumn(
        name="fold_agreement_tm",
        type="number",
        topic=_FOLD,
        meaning="TM-score between the structures that the two models of `--fold` predict. Above "
        "0.5 both see the same fold; where they differ, one of them at least is wrong. Beside it "
        "stands the second model's pLDDT, as `mean_plddt_esmfold2`.",
        computed_by="fold_second",
        always=False,
        low=0,
        high=1,
        better="highest",
        over_residues=True,
        heading="TM of two models",
        written=".2f",
        figure=MeanFigure(
            name="fold_agreement_tm",
            definition="mean over designs of the TM-score (TM-align) between the structures of the "
            "two folding models",
        ),
        score_flag="--fold MODEL,MODEL",
    ),
    ScoreColumn(
        name="training_neighbour_identity",
        type="number",
        topic=_NEW,
        meaning="Identity of that nearest training sequence to the training sequence nearest to "
        "it, found in the same way: how near nature's own members come to each other there. A "
        "design above it is nearer to the data than they are ([ranking](filter.md#what-is-best)).",
        computed_by="training",
        always=False,
        low=0,
        high=1,
        zero="none alike",
        score_flag="--training F.fasta",
    ),
    ScoreColumn(
        name="motif",
        type="text",
        topic=_KEPT,
        meaning="Residues of a structure that the design keeps, and where it holds them, from the "
        "header: `A57>61,A163-181>70-88` is residue 57 of chain A at position 61, and 163 to 181 "
        "at 70 to 88. A structure given as input has that of the design in the same call whose "
        "sequence it has.",
        computed_by="header",
        always=False,
    ),
    ScoreColumn(
        name="motif_rmsd",
        type="number",
        topic=_KEPT,
        meaning="How far the alpha carbons of these residues lie from where the structure of "
        "`--motif` has them, after the two were superposed by them alone (root mean square). Empty "
        "where nothing was folded, and for a single residue, which fits anything.",
        computed_by="motif",
        always=False,
        low=0,
        unit="Å",
        better="lowest",
        heading="motif RMSD",
        written=".2f",
        figure=MeanFigure(name="mean_motif_rmsd"),
        score_flag="--motif F.pdb",
    ),
    ScoreColumn(
        name="motif_success",
        type="yes_no",
        topic=_KEPT,
        meaning="`motif_rmsd` < 1 and `mean_plddt` > 70.",
        computed_by="motif",
        always=False,
        typical="true, false",
        better="highest",
        heading="motif kept",
        written=".0%",
        figure=MeanFigure(
            name="motif_success_fraction",
            definition="share of designs with a motif RMSD below 1 Å and a mean pLDDT above 70",
        ),
        score_flag="--motif F.pdb",
    ),
    ScoreColumn(
        name="motif_rmsd_shuffled",
        type="number",
        topic=_KEPT,
        meaning="The same of the design with its other residues shuffled and the motif in its "
        "place, folded too, of up to 64 designs: what the motif's own letters bring about.",
        computed_by="motif_shuffles",
        always=False,
        low=0,
        unit="Å",
        heading="motif RMSD, shuffled",
        written=".2f",
        figure=MeanFigure(name="mean_motif_rmsd_shuffled"),
        score_flag="--motif F.pdb",
    ),
    ScoreColumn(
        name="motif_success_shuffled",
        type="yes_no",
        topic=_KEPT,
        meaning="And whether that would be a success.",
        computed_by="motif_shuffles",
        always=False,
        typical="true, false",
        heading="motif kept, shuffled",
        written=".0%",
        figure=MeanFigure(
            name="motif_success_shuffled_fraction",
            definition="the same share of designs whose other residues were shuffled, and folded",
        ),
        score_flag="--motif F.pdb",
    ),
    ScoreColumn(
        name="structure_cluster",
        type="integer",
        topic=_FOLD,
        meaning="Of Foldseek, where it is on the path.",
        computed_by="structures",
        always=False,
        low=1,
        otherwise="run score with --fold MODEL --pdb-dir DIR, and Foldseek on the path",
    ),
    ScoreColumn(
        name="pdb_chain",
        type="text",
        topic=_FOLD,
        meaning="Of structures given as input: the chain.",
        computed_by="record",
        always=False,
    ),
    ScoreColumn(
        name="plddt_source",
        type="text",
        topic=_FOLD,
        meaning="Of structures given as input: what tells that the B-factors are pLDDT, or why "
        "they were refused.",
        computed_by="record",
        always=False,
    ),
    ScoreColumn(
        name="iptm",
        type="number",
        topic=_FOLD,
        meaning="Of predicted complexes given as input: predicted TM-score of the interfaces, of "
        "all of them together, the same in the row of each chain. Above 0.8 they are probably "
        "right, below 0.6 probably wrong.",
        computed_by="record",
        always=False,
        low=0,
        high=1,
        better="highest",
        heading="ipTM",
        written=".2f",
        otherwise="give score the output folder of a predictor",
    ),
    ScoreColumn(
        name="complex_ptm",
        type="number",
        topic=_FOLD,
        meaning="Of predicted complexes given as input: pTM of all chains together; `ptm` is the "
        "chain's own.",
        computed_by="record",
        always=False,
        low=0,
        high=1,
        better="highest",
        otherwise="give score the output folder of a predictor",
    ),
    ScoreColumn(
        name="complex_pae",
        type="number",
        topic=_FOLD,
        meaning="Of predicted complexes given as input: mean PAE over all pairs, those between "
        "chains too; `mean_pae` is the chain's own.",
        computed_by="record",
        always=False,
        low=0,
        unit="Å",
        better="lowest",
        otherwise="give score the output folder of a predictor",
    ),
    ScoreColumn(
        name="ranking_score",
        type="number",
        topic=_FOLD,
        meaning="By which the predictor ranked its models of this design, as it wrote it: compare "
        "within one program only.",
        computed_by="record",
        always=False,
        better="highest",
        advice="Higher is better among designs of one program",
        otherwise="give score the output folder of a predictor",
    ),
    ScoreColumn(
        name="predictor",
        type="text",
        topic=_FOLD,
        meaning="Whose output folder the structure was found in: `colabfold`, `boltz`, `chai`, "
        "`alphafold3` ([other programs](other-programs.md)).",
        computed_by="record",
        always=False,
    ),
    ScoreColumn(
        name="prediction",
        type="text",
        topic=_FOLD,
        meaning="Which of the predictor's models of this design it is: `rank_001`, `model_0`, "
        "`seed-1_sample-0`; `best` where AlphaFold 3 copied it to the top.",
        computed_by="record",
        always=False,
    ),
    ScoreColumn(
        name="native",
        type="yes_no",
        topic=_RECORD,
        meaning="Whether it is the sequence that ProteinMPNN or LigandMPNN was given, not one that "
        "they designed; from the header, `native=True`. Such a row is scored, for comparison, and "
        "is no design: figures of the set leave it out, and `filter` and `report` do too.",
        computed_by="header",
        always=False,
        typical="true",
    ),
    ScoreColumn(
        name="rank",
        type="integer",
        topic=_RECORD,
        meaning="In what `filter` kept: the best design is 1.",
        computed_by="filter",
        always=False,
        low=1,
    ),
    _motif(
        "cysteine_count",
        "C. Disulphides form in oxidising compartments and during purification.",
    ),
    _motif(
        "odd_cysteines",
        "1 where that number is odd, else 0. One cysteine at least has no partner within the "
        "chain: it may link two molecules, or the wrong one. An even number promises nothing.",
    ),
    _motif(
        "n_glycosylation_sites",
        "N-X-S and N-X-T, X not P. Yeast, insect and mammalian cells attach a sugar when the "
        "protein is secreted. No concern in *E. coli*.",
    ),
    _motif(
        "deamidation_sites",
        "NG and NS. Asparagine turns into aspartate, within days at neutral pH in flexible NG: "
        "charge changes, batches become mixtures.",
    ),
    _motif(
        "isomerisation_sites",
        "DG. Aspartate turns into isoaspartate, which kinks the backbone.",
    ),
    _motif(
        "acid_cleavage_sites",
        "DP. The bond breaks in acid, such as some elution buffers.",
    ),
    _motif(
        "n_terminal_glutamine",
        "1 where the sequence begins with Q. It closes into pyroglutamate: the N terminus is "
        "blocked and the mass falls by 17 Da. Only where no start methionine or tag stands before "
        "it.",
    ),
)

COLUMN = {each.name: each for each in _ENTRIES}
"""Every column that is ours, by name. Any other column of a table is text."""
COLUMNS = tuple(each.name for each in _ENTRIES if each.always)
"""Those of every table, in their order."""


def names_by(computed_by: str) -> tuple[str, ...]:
    """Return the columns that a scorer, or a part of `score` or `filter`, fills."""
    return tuple(each.name for each in _ENTRIES if each.computed_by == computed_by)


SECOND_PLDDT = "mean_plddt_"
"""Before the name of a second folding model: the column of its pLDDT."""


def type_of(name: str) -> Literal["text", "integer", "number", "yes_no"]:
    """Return the type of a column: text of every one that is not ours."""
    if name in COLUMN:
        return COLUMN[name].type
    return "number" if name.startswith(SECOND_PLDDT) else "text"


def is_text(name: str) -> bool:
    """Return whether a column holds text."""
    return type_of(name) == "text"


# The tables of the documentation.

_TABLE = re.compile(r"(<!-- columns: (.+?) -->\n).*?(<!-- end of columns -->)", re.DOTALL)


def with_tables(page: str) -> str:
    """Return a page of documentation with its tables of columns as the entries are now."""
    return _TABLE.sub(lambda found: f"{found[1]}\n{_table(found[2])}\n\n{found[3]}", page)


def _table(topic: str) -> str:
    """Return the rows of a topic; a column of the table in which none says anything is left out."""
    listed = [each for each in _ENTRIES if each.topic == topic]
    if not listed:
        raise ValueError(f"no column has the topic {topic}")
    cells: dict[str, list[str]] = {
        "column": [f"`{each.name}`" for each in listed],
        "range": ["; ".join(filter(None, (each.range_and_unit, each.typical))) for each in listed],
        "ranks first": [each.better for each in listed],
        "meaning": [each.meaning for each in listed],
    }
    cells = {title: values for title, values in cells.items() if any(values)}
    rows = [list(cells), ["---"] * len(cells), *map(list, zip(*cells.values(), strict=True))]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def write_tables(paths: Sequence[str]) -> Iterator[str]:
    """Write the tables of pages anew, and return those that changed."""
    for path in map(Path, paths):
        old = path.read_text(encoding="utf-8")
        if (new := with_tables(old)) != old:
            path.write_text(new, encoding="utf-8")
            yield str(path)


if __name__ == "__main__":
    print("\n".join(write_tables(sys.argv[1:])))
