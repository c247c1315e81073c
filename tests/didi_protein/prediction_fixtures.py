"""Output folders as ColabFold, Boltz, Chai and AlphaFold 3 lay them out, with numbers of our own.

Names, keys, shapes and scales are those of the programs' code: ColabFold `colabfold/batch.py`,
Boltz `data/write/writer.py`, Chai `chai_lab/chai1.py` and `ranking/rank.py`, AlphaFold 3
`docs/output.md` and `model/confidence_types.py`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from model_file_fixtures import CIF_ITEMS, SEQUENCE, cif_atoms, pdb_atoms, walk

CHAINS = {"A": SEQUENCE}
COMPLEX = {"A": SEQUENCE, "B": "GSHMLEDPVDAFRNL"}


@dataclass(frozen=True)
class Model:
    """What one predicted model says, in our units."""

    chains: Mapping[str, str] = field(default_factory=lambda: CHAINS)
    plddt: float = 80.0
    """Of every atom."""
    ptm: float = 0.75
    iptm: float = 0.0
    score: float = 0.8
    """By which the program ranks."""
    seed: int = 0
    """Of the PAE."""
    ligand_atoms: int = 0

    @property
    def num_residues(self) -> int:
        return sum(map(len, self.chains.values()))

    @property
    def pae(self) -> np.ndarray:
        size = self.num_residues + self.ligand_atoms
        return np.random.default_rng(self.seed).uniform(0.5, 30, (size, size)).round(2)

    @property
    def chain_ptm(self) -> list[float]:
        """Of each chain, and of the ligand."""
        num = len(self.chains) + (self.ligand_atoms > 0)
        return (
            [round(self.ptm - 0.1 * (place + 1), 4) for place in range(num)]
            if num > 1
            else [self.ptm]
        )

    def columns(self, chain: str, with_pae: bool = True) -> dict[str, float]:
        """The values that the table should have for a chain of a complex of proteins, or alone."""
        names, pae = list(self.chains), self.pae
        start = sum(len(self.chains[name]) for name in names[: names.index(chain)])
        own = slice(start, start + len(self.chains[chain]))
        values = {"mean_plddt": self.plddt, "ptm": self.chain_ptm[names.index(chain)]}
        values |= {"mean_pae": float(pae[own, own].mean())} if with_pae else {}
        if len(names) > 1:
            values |= {"iptm": self.iptm, "complex_ptm": self.ptm}
            values |= {"complex_pae": float(pae.mean())} if with_pae else {}
        return values


def _b_factors(model: Model, sequence: str, scale: float = 1.0) -> np.ndarray:
    slope = np.linspace(-3, 3, len(sequence))[:, None]
    return np.repeat(scale * (model.plddt + slope), 4, axis=1)


def cif_text(model: Model) -> str:
    """The mmCIF of a model, with nothing beside its atoms."""
    rows = []
    for chain, sequence in model.chains.items():
        atoms = cif_atoms(_b_factors(model, sequence), sequence, chain)
        rows += [line for line in atoms.splitlines() if line.startswith("ATOM ")]
    for number in range(model.ligand_atoms):
        rows.append(f"HETATM {number} C C{number} . LIG L 2 . ? {number}.0 9.0 9.0 1.0 50.00 1 L 1")
    items = "".join(f"_atom_site.{item}\n" for item in CIF_ITEMS)
    return "data_x\n#\nloop_\n" + items + "\n".join(rows) + "\n#\n"


def pdb_text(model: Model, scale: float = 1.0) -> str:
    return (
        "".join(
            pdb_atoms(
                _b_factors(model, sequence, scale), sequence, chain, walk(len(sequence), place)
            )
            for place, (chain, sequence) in enumerate(model.chains.items())
        )
        + "END\n"
    )


def _put(path: Path, content: str | dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def write_colabfold(folder: Path, design: str, models: list[Model], relaxed: int = 1) -> None:
    """Ranked models, the first of them relaxed too; states of recycles, PAE and log beside them."""
    for rank, model in enumerate(models, start=1):
        tag = f"rank_{rank:03d}_alphafold2_ptm_model_{6 - rank}_seed_000"
        is_complex = len(model.chains) > 1
        scores = {
            "plddt": [model.plddt] * model.num_residues,
            "max_pae": model.pae.max(),
            "pae": model.pae.tolist(),
            "ptm": model.ptm,
            **({"iptm": model.iptm} if is_complex else {}),
        }
        _put(folder / f"{design}_unrelaxed_{tag}.pdb", pdb_text(model))
        _put(folder / f"{design}_unrelaxed_{tag}.r0.pdb", pdb_text(model))
        _put(folder / f"{design}_scores_{tag}.json", scores)
        if rank <= relaxed:
            _put(folder / f"{design}_relaxed_{tag}.pdb", pdb_text(model))
    best = {"predicted_aligned_error": models[0].pae.tolist(), "max_predicted_aligned_error": 30}
    _put(folder / f"{design}_predicted_aligned_error_v1.json", best)
    _put(folder / f"{design}.a3m", f">101\n{SEQUENCE}\n")
    _put(folder / f"{design}.done.txt", "")
    _put(folder / f"{design}_env" / "templates_101" / "1abc.cif", "data_x\n")
    _put(folder / "config.json", {"rank_by": "multimer"})
    _put(folder / "log.txt", "Running colabfold")


def write_boltz(results: Path, design: str, models: list[Model], suffix: str = ".cif") -> None:
    """Models in the order of their confidence score; pLDDT of the arrays and scores is 0 to 1."""
    folder = results / "predictions" / design
    for number, model in enumerate(models):
        stem = f"{design}_model_{number}"
        chains = dict(enumerate(model.chain_ptm))
        summary = {
            "confidence_score": model.score,
            "ptm": model.ptm,
            "iptm": model.iptm,
            "ligand_iptm": 0.0,
            "protein_iptm": model.iptm,
            "complex_plddt": model.plddt / 100,
            "complex_iplddt": model.plddt / 100,
            "complex_pde": 0.89,
            "complex_ipde": 5.1,
            "chains_ptm": {str(place): each for place, each in chains.items()},
            "pair_chains_iptm": {"0": {"0": model.ptm}},
        }
        _put(folder / f"{stem}{suffix}", cif_text(model) if suffix == ".cif" else pdb_text(model))
        _put(folder / f"confidence_{stem}.json", summary)
        plddt = np.full(model.num_residues, model.plddt / 100, dtype=np.float32)
        np.savez_compressed(folder / f"plddt_{stem}.npz", plddt=plddt)
        np.savez_compressed(folder / f"pae_{stem}.npz", pae=model.pae)
    _put(results / "processed" / "manifest.json", {"records": []})
    (results / "lightning_logs").mkdir(exist_ok=True)


def write_chai(folder: Path, models: list[Model]) -> None:
    """Models in the order in which they were drawn; no PAE."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, model in enumerate(models):
        _put(folder / f"pred.model_idx_{number}.cif", cif_text(model))
        np.savez(
            folder / f"scores.model_idx_{number}.npz",
            aggregate_score=np.array([model.score], dtype=np.float32),
            ptm=np.array([model.ptm], dtype=np.float32),
            iptm=np.array([model.iptm], dtype=np.float32),
            per_chain_ptm=np.array([model.chain_ptm], dtype=np.float32),
            per_chain_pair_iptm=np.zeros((1, len(model.chains), len(model.chains))),
            has_inter_chain_clashes=np.array([False]),
            chain_chain_clashes=np.zeros((1, len(model.chains), len(model.chains)), dtype=int),
        )


def _alphafold3_files(model: Model) -> tuple[dict, dict]:
    """Summary and full confidences."""
    names = list(model.chains) + ["L"] * (model.ligand_atoms > 0)
    summary = {
        "chain_ids": names,
        "chain_iptm": [model.iptm] * len(names),
        "chain_ptm": model.chain_ptm,
        "fraction_disordered": 0.0,
        "has_clash": 0.0,
        "iptm": model.iptm if len(names) > 1 else None,
        "num_recycles": 10.0,
        "ptm": model.ptm,
        "ranking_score": model.score,
    }
    tokens = [chain for chain, sequence in model.chains.items() for _ in sequence]
    tokens += ["L"] * model.ligand_atoms
    full = {
        "atom_chain_ids": tokens,
        "atom_plddts": [model.plddt] * len(tokens),
        "pae": model.pae.tolist(),
        "token_chain_ids": tokens,
        "token_res_ids": list(range(1, len(tokens) + 1)),
    }
    return summary, full


def write_alphafold3(out: Path, design: str, models: list[Model], named: bool = True) -> None:
    """A sample a folder, and the best one again at the top; before 3.0.1 files had no prefix."""
    job = out / design
    best = max(models, key=lambda model: model.score)
    for number, model in enumerate(models):
        sample = f"seed-7_sample-{number}"
        prefix = f"{design}_{sample}_" if named else ""
        _write_alphafold3(job / sample, prefix, model)
    _write_alphafold3(job, f"{design}_", best)
    _put(job / f"{design}_data.json", {"name": design})
    _put(job / (f"{design}_" * named + "ranking_scores.csv"), "seed,sample,ranking_score\n")
    _put(job / "TERMS_OF_USE.md", "terms")


def _write_alphafold3(folder: Path, prefix: str, model: Model) -> None:
    summary, full = _alphafold3_files(model)
    _put(folder / f"{prefix}model.cif", cif_text(model))
    _put(folder / f"{prefix}summary_confidences.json", summary)
    _put(folder / f"{prefix}confidences.json", full)


def write_alphafold_server(folder: Path, design: str, models: list[Model]) -> None:
    """An unpacked download of the server."""
    for number, model in enumerate(models):
        summary, full = _alphafold3_files(model)
        _put(folder / f"fold_{design}_model_{number}.cif", cif_text(model))
        _put(folder / f"fold_{design}_summary_confidences_{number}.json", summary)
        _put(folder / f"fold_{design}_full_data_{number}.json", full)
    _put(folder / f"fold_{design}_job_request.json", {"name": design})
    _put(folder / "terms_of_use.md", "terms")


# FASTA of ProteinMPNN and LigandMPNN, as `protein_mpnn_run.py` and `run.py` write it.

ONE, TWO = "MKTAYIAKQRQISFVKSHFSRQLEERLG", "GSHMLEDPVDAFRNLGKTWYESCCNAPSTI"
OTHER = "DVKAFWEAHPLNTIKQSYGVRECMDTAPWLFNKHSGYIVERQ"
PROTEIN_MPNN = f"""\
>6MRR, score=1.5322, global_score=1.5322, fixed_chains=[], designed_chains=['A'], \
model_name=v_48_020, git_hash=015ff820, seed=37
{ONE}
>T=0.1, sample=1, score=0.7291, global_score=0.7330, seq_recovery=0.5736
{TWO}
>T=0.1, sample=2, score=0.7414, global_score=0.7414, seq_recovery=0.6075
{OTHER}
>T=0.2, sample=1, score=0.8, global_score=0.81, seq_recovery=0.5
{OTHER[1:]}
"""
TWO_CHAINS = f"""\
>3HTN, score=1.4405, fixed_chains=['C'], designed_chains=['A', 'B'], CA_model_name=v_48_002
{ONE}/{TWO}
>T=0.1, sample=1, score=0.8450, seq_recovery=0.5071
{TWO}/GSXXH
"""
LIGAND_MPNN = f"""\
>4GYT, T=0.1, seed=111, num_res=177, num_ligand_res=11, use_ligand_context=True, \
ligand_cutoff_distance=8.0, batch_size=1, number_of_batches=1, model_path=./my, models/x=1.pt
{ONE}:{TWO}
>4GYT, id=1, T=0.1, seed=111, overall_confidence=0.4349, ligand_confidence=0.4305, seq_rec=0.4576
{TWO}:{OTHER}"""
