"""Columns of structures: predicted here or elsewhere, and motifs kept in them."""

from didi_protein.scoring.score_column import MeanFigure, ScoreColumn, Topic

FOLDED = (
    ScoreColumn(
        name="mean_plddt",
        type="number",
        topic=Topic.FOLD,
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
        topic=Topic.FOLD,
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
        topic=Topic.FOLD,
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
        topic=Topic.FOLD,
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
        topic=Topic.FOLD,
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
        topic=Topic.FOLD,
        meaning="Structure file, relative to the table; pLDDT stands in its B-factors.",
        computed_by="fold",
    ),
)

MODELS = (
    ScoreColumn(
        name="fold_model",
        type="text",
        topic=Topic.FOLD,
        meaning="The folding model of these columns, as `--fold` names it: the first, where it "
        "names two.",
        computed_by="thresholds",
        score_flag="--fold MODEL",
    ),
    # What follows stands in a table only where it has a value.
    ScoreColumn(
        name="fold_agreement_tm",
        type="number",
        topic=Topic.FOLD,
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
)

KEPT = (
    ScoreColumn(
        name="motif",
        type="text",
        topic=Topic.KEPT,
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
        topic=Topic.KEPT,
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
        topic=Topic.KEPT,
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
        topic=Topic.KEPT,
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
        topic=Topic.KEPT,
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
)

PREDICTED = (
    ScoreColumn(
        name="structure_cluster",
        type="integer",
        topic=Topic.FOLD,
        meaning="Of Foldseek, where it is on the path.",
        computed_by="structures",
        always=False,
        low=1,
        otherwise="run score with --fold MODEL --pdb-dir DIR, and Foldseek on the path",
    ),
    ScoreColumn(
        name="pdb_chain",
        type="text",
        topic=Topic.FOLD,
        meaning="Of structures given as input: the chain.",
        computed_by="record",
        always=False,
    ),
    ScoreColumn(
        name="plddt_source",
        type="text",
        topic=Topic.FOLD,
        meaning="Of structures given as input: what tells that the B-factors are pLDDT, or why "
        "they were refused.",
        computed_by="record",
        always=False,
    ),
    ScoreColumn(
        name="iptm",
        type="number",
        topic=Topic.FOLD,
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
        topic=Topic.FOLD,
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
        topic=Topic.FOLD,
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
        topic=Topic.FOLD,
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
        topic=Topic.FOLD,
        meaning="Whose output folder the structure was found in: `colabfold`, `boltz`, `chai`, "
        "`alphafold3` ([other programs](other-programs.md)).",
        computed_by="record",
        always=False,
    ),
    ScoreColumn(
        name="prediction",
        type="text",
        topic=Topic.FOLD,
        meaning="Which of the predictor's models of this design it is: `rank_001`, `model_0`, "
        "`seed-1_sample-0`; `best` where AlphaFold 3 copied it to the top.",
        computed_by="record",
        always=False,
    ),
)
