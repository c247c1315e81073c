"""Columns that the letters of a design give, alone or under a language model."""

import math

from didi_protein.scoring.score_column import ScoreColumn, Topic

_READS = "Lower reads more natural, and below nature's range no better: repeats, perhaps, or copies"


def _motif(name: str, meaning: str) -> ScoreColumn:
    """Return the column of a motif that `filter` counts: the fewer the better."""
    return ScoreColumn(
        name=name,
        type="integer",
        topic=Topic.MOTIFS,
        meaning=meaning,
        computed_by="motifs",
        always=False,
        low=0,
        better="lowest",
    )


READS = (
    ScoreColumn(
        name="judge_perplexity",
        type="number",
        topic=Topic.NATURAL,
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
        topic=Topic.NATURAL,
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
        topic=Topic.NATURAL,
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
)

JUNK = (
    ScoreColumn(
        name="repeat_fraction",
        type="number",
        topic=Topic.JUNK,
        meaning="Share of residues that lie in a word of four occurring more than once in the "
        "sequence, side by side or far apart, or in a run of four of one letter. Long sequences "
        "repeat words by chance: 0.05 at 500 residues. **Above 0.2, look at the sequence.**",
        computed_by="properties",
        low=0,
        high=1,
        typical="natural: mean 0.04, median 0.02; one in ten above 0.10, one in a hundred above "
        "0.38",
        better="lowest",
        best_without_limit=True,
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
        topic=Topic.JUNK,
        meaning="Share of residues in stretches of few kinds of letters, after SEG: windows of 12 "
        "of at most 2.2 bits, extended over windows of at most 2.5 bits.",
        computed_by="properties",
        low=0,
        high=1,
        typical="natural: mean 0.08, median 0.04; one in ten above 0.22",
        better="lowest",
        best_without_limit=True,
        advice="As little as nature has will do",
        over_residues=True,
        heading="low complexity",
    ),
    ScoreColumn(
        name="aa_entropy",
        type="number",
        topic=Topic.JUNK,
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
)

WORK = (
    ScoreColumn(
        name="instability_index",
        type="number",
        topic=Topic.WORK,
        meaning="From dipeptide statistics; below 40 is called stable.",
        computed_by="properties",
        typical="natural: 19 to 61, median 38",
        better="lowest",
        advice="Below 40 is called stable",
        best_without_limit=True,
        over_residues=True,
        heading="instability",
        written=".0f",
        on_card=True,
    ),
    ScoreColumn(
        name="gravy",
        type="number",
        topic=Topic.WORK,
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
        topic=Topic.WORK,
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
        topic=Topic.WORK,
        meaning="Average masses, with one water.",
        computed_by="properties",
        low=0,
        unit="Da",
    ),
)

MOTIFS = (
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
