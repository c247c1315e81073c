"""Columns that say which record a row is, where it came from, and what became of it."""

from didi_protein.scoring.score_column import ScoreColumn, Topic

RECORD = (
    ScoreColumn(
        name="id",
        type="text",
        topic=Topic.RECORD,
        meaning="First word of the header, never touched where it is unique. A repeated id becomes "
        "`id#2`, `id#3`; a record without one is `unnamed`. A structure file whose name has blanks "
        "gets a word (`model_1`), and its name stands in `header_name`.",
        computed_by="record",
    ),
    ScoreColumn(
        name="length",
        type="integer",
        topic=Topic.RECORD,
        meaning="Residues of `sequence`.",
        computed_by="record",
        low=0,
    ),
    ScoreColumn(
        name="status",
        type="text",
        topic=Topic.RECORD,
        meaning="`ok`; `invalid`: letters that are no residue; `too_long`: longer than a model "
        "reads, or than `--max-length`; `oom`: out of memory, even alone; `failed`: something else "
        "went wrong. Only `ok` rows count in the summary. Any other makes the command end with "
        "status 1.",
        computed_by="record",
    ),
    ScoreColumn(
        name="error",
        type="text",
        topic=Topic.RECORD,
        meaning="The reason, in words, where the status is not `ok`.",
        computed_by="record",
    ),
    ScoreColumn(
        name="model",
        type="text",
        topic=Topic.RECORD,
        meaning="What wrote it, from the header.",
        computed_by="header",
    ),
    ScoreColumn(
        name="sampler",
        type="text",
        topic=Topic.RECORD,
        meaning="Its sampler, from the header.",
        computed_by="header",
    ),
    ScoreColumn(
        name="steps",
        type="integer",
        topic=Topic.RECORD,
        meaning="Denoising steps asked for, from the header.",
        computed_by="header",
        low=0,
    ),
    ScoreColumn(
        name="nfe",
        type="integer",
        topic=Topic.RECORD,
        meaning="Network calls made for it, from the header.",
        computed_by="header",
        low=0,
    ),
    ScoreColumn(
        name="seed",
        type="integer",
        topic=Topic.RECORD,
        meaning="Of the run, from the header.",
        computed_by="header",
        low=0,
    ),
    ScoreColumn(
        name="sequence",
        type="text",
        topic=Topic.RECORD,
        meaning="As scored: with `--clean`, after mending.",
        computed_by="record",
    ),
)

PARENT = (
    ScoreColumn(
        name="parent",
        type="text",
        topic=Topic.RECORD,
        meaning="What the design was made from, from the header: an id, or the sequence itself "
        "([what it changes](#is-it-new)).",
        computed_by="header",
    ),
    ScoreColumn(
        name="parent_identity",
        type="number",
        topic=Topic.RECORD,
        meaning="Identity to the parent as the header states it; `score` does not compute it.",
        computed_by="header",
        low=0,
        high=1,
        otherwise="state it in the headers of the designs, as parent_identity=0.87",
    ),
)

LAST = (
    ScoreColumn(
        name="native",
        type="yes_no",
        topic=Topic.RECORD,
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
        topic=Topic.RECORD,
        meaning="In what `filter` kept: the best design is 1.",
        computed_by="filter",
        always=False,
        low=1,
    ),
)
