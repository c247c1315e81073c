"""Columns of a design beside others: natural sequences, a family, and training data."""

from didi_protein.scoring.score_column import MeanFigure, ScoreColumn, Topic

_METRICS = (
    "score the whole set with the extra metrics installed (pip install 'didi-protein[metrics]'); "
    "merge fills it in for shards"
)

NEAREST = (
    ScoreColumn(
        name="nearest_reference",
        type="text",
        topic=Topic.NEW,
        meaning="Id of the reference of highest identity among those that align with at least 70% "
        "of this sequence. Empty: there is none, which for a designer is good news.",
        computed_by="neighbours",
    ),
    ScoreColumn(
        name="nearest_reference_identity",
        type="number",
        topic=Topic.NEW,
        meaning="Identical residues over columns of that alignment, gaps included. 0.3 and below "
        "hardly says anything; 0.4 is a relative; 0.95 a copy.",
        computed_by="neighbours",
        low=0,
        high=1,
        better="lowest",  # new rather than known
        advice="Lower is newer, not better; 95% and above is a copy",
        heading="identity to nearest reference",
        written=".0%",
        on_card=True,
        filter_flag="--max-identity",
        score_flag="--reference NATURAL.fasta",
        compared="sequence",
    ),
    ScoreColumn(
        name="max_reference_tm",
        type="number",
        topic=Topic.NEW,
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
        topic=Topic.NEW,
        meaning="Designs of one number resemble each other: at least 40% identity over at least "
        "70% of both. Numbered by first appearance. Empty in a shard: `merge` fills it in.",
        computed_by="clusters",
        low=1,
        otherwise=_METRICS,
    ),
)

FAMILY = (
    ScoreColumn(
        name="family_bits",
        type="number",
        topic=Topic.FAMILY,
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
        topic=Topic.FAMILY,
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
        topic=Topic.FAMILY,
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
        name="family_start",
        type="integer",
        topic=Topic.FAMILY,
        meaning="First residue, from 1, that fills a match column of the profile: where the "
        "family's domain begins in the sequence.",
        computed_by="family",
        always=False,
        low=1,
        score_flag="--family ALIGNMENT",
    ),
    ScoreColumn(
        name="family_end",
        type="integer",
        topic=Topic.FAMILY,
        meaning="The last such residue. A model of the family knows what stands between the two: "
        "cut a whole protein there for `scan` and for `generate --start`.",
        computed_by="family",
        always=False,
        low=1,
        score_flag="--family ALIGNMENT",
    ),
)

TRAINING = (
    ScoreColumn(
        name="training_identity",
        type="number",
        topic=Topic.NEW,
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
        topic=Topic.NEW,
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
)

TRAINING_NEIGHBOUR = (
    ScoreColumn(
        name="training_neighbour_identity",
        type="number",
        topic=Topic.NEW,
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
)
