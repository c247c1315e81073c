"""1,000 random designs of 100 residues: does the DNA that `order` writes keep every rule?

    python -m benchmarks.order                # E. coli, six enzymes, tags, flanks, plates
    python -m benchmarks.order --num 200 --host cho --codons best --out cho.json

The residues are drawn with the shares of Swiss-Prot. Every written DNA is checked without DNA
Chisel and without the rules of this package: it translates (Biopython) to tag, design and tag; no
site stands on either strand, junctions included (plain search for the site and its reverse
complement); G and C in every window and in the whole, and runs of one base, are in range. The same
designs without the rules show that the checks see what is wrong. Writes JSON to
benchmarks/results/; the exit status is 1 where a check fails. Run from the repository's root.
"""

import argparse
import itertools
import json
import os
import platform
import random
import sys
import tempfile
import time
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any

from Bio.Seq import Seq

from didi_core.io.files import write_json
from didi_core.training.run_folder import git_revision, package_versions
from didi_protein.order import OrderOptions, OrderResult, order
from didi_protein.ordering.membrane import has_signal_peptide, transmembrane_stretches

SHARES = {
    **{"A": 8.25, "R": 5.53, "N": 4.06, "D": 5.46, "C": 1.38, "Q": 3.93, "E": 6.71, "G": 7.07},
    **{"H": 2.27, "I": 5.91, "L": 9.65, "K": 5.80, "M": 2.41, "F": 3.86, "P": 4.74, "S": 6.65},
    **{"T": 5.36, "W": 1.10, "Y": 2.92, "V": 6.86},
}
"""Percent of each residue in Swiss-Prot."""
SITES = {
    "BsaI": "GGTCTC",
    "BsmBI": "CGTCTC",
    "NdeI": "CATATG",
    "XhoI": "CTCGAG",
    "EcoRI": "GAATTC",
    "BamHI": "GGATCC",
}
FLANK5, FLANK3 = "TTTAAGAAGGAGATATACC", "GCTGAGCAATAACTAGC"
N_TAG, N_RESIDUES = "His6+GSS+TEV", "MHHHHHHGSSENLYFQG"
C_TAG, C_RESIDUES = "G4S+StrepII", "GGGGSWSHPQFEK"
LOW, HIGH, WINDOW, LONGEST_RUN = 30, 70, 50, 5
RULES = {
    "avoid": ",".join(SITES),
    "gc": f"{LOW}-{HIGH}",
    "gc_window": WINDOW,
    "max_homopolymer": LONGEST_RUN,
}


def main() -> int:
    arguments = parse_arguments()
    designs = random_designs(arguments.num, arguments.length, arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        fasta = Path(folder) / "designs.fasta"
        fasta.write_text("".join(f">{name}\n{each}\n" for name, each in designs.items()))
        started, processor = time.perf_counter(), time.process_time()
        written = run(arguments, fasta, **RULES)
        seconds, processor = time.perf_counter() - started, time.process_time() - processor
        free = run(arguments, fasta, gc="0-100", max_homopolymer=100, overwrite=True)
    checks, without_rules = check(written, designs), check(free, designs)
    result = {
        "what": Path(__file__).name,
        "settings": {name: each for name, each in vars(arguments).items() if name != "out"},
        "sites": SITES,
        "gc_percent": [LOW, HIGH, WINDOW],
        "longest_run": LONGEST_RUN,
        "checks": checks,
        "checks_without_rules": without_rules,
        "hints_without_tags": hints([f"M{each}" for each in designs.values()]),
        "codon_adaptation": written.table["codon_adaptation"].describe().round(4).to_dict(),
        "errors": written.table["error"].dropna().tolist(),
        "seconds": round(seconds, 1),
        "processor_seconds": round(processor, 1),
        "processor_seconds_per_design": round(processor / len(designs), 4),
        "machine": {
            "processor": platform.machine(),
            "cpus": os.cpu_count(),
        },
        "load_average": os.getloadavg(),
        "versions": package_versions() | {"dnachisel": version("dnachisel")},
        "git_revision": git_revision(),
    }
    write_json(arguments.out, result)
    print(json.dumps(result, indent=2))
    return 0 if not any(checks["wrong"].values()) else 1


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--num", type=int, default=1000)
    parser.add_argument("--length", type=int, default=100)
    parser.add_argument("--host", default="ecoli")
    parser.add_argument("--codons", default="match")
    parser.add_argument("--seed", type=int, default=0)
    results = Path(__file__).parent / "results" / "order.json"
    parser.add_argument("--out", type=Path, default=results)
    return parser.parse_args()


def random_designs(number: int, length: int, seed: int) -> dict[str, str]:
    draw = random.Random(seed)
    return {
        f"design_{place:06d}": "".join(draw.choices([*SHARES], [*SHARES.values()], k=length))
        for place in range(number)
    }


def run(arguments: argparse.Namespace, fasta: Path, **more: Any) -> OrderResult:
    return order(
        OrderOptions(
            inputs=[str(fasta)],
            out=fasta.with_name("order.csv"),
            host=arguments.host,
            codons=arguments.codons,
            n_tag=N_TAG,
            c_tag=C_TAG,
            flank5=FLANK5,
            flank3=FLANK3,
            plate=96,
            seed=arguments.seed,
            **more,
        )
    )


def check(written: OrderResult, designs: dict[str, str]) -> dict[str, Any]:
    """Return how many designs were ordered, and of these how many break which rule."""
    table = written.table
    wrong = Counter({name: 0 for name in ("translation", "sites", "gc", "runs", "wells", "rows")})
    ok = table[table["status"] == "ok"]
    for name, dna in zip(ok["id"], ok["dna"], strict=True):
        body = dna.removeprefix(FLANK5).removesuffix(FLANK3)
        protein = N_RESIDUES + designs[name] + C_RESIDUES
        is_whole = dna == FLANK5 + body + FLANK3
        wrong["translation"] += not is_whole or str(Seq(body).translate()) != f"{protein}*"
        wrong["sites"] += any(has_site(dna, bases) for bases in SITES.values())
        wrong["gc"] += not all(in_range(part) for part in [dna, *windows(dna)])
        wrong["runs"] += max(len(list(run)) for _, run in itertools.groupby(dna)) > LONGEST_RUN
    wrong["wells"] = int(ok[["plate", "well"]].duplicated().sum())
    wrong["rows"] = int(table["id"].tolist() != list(designs))
    return {"num": len(table), "ordered": len(ok), "wrong": dict(wrong)}


def hints(proteins: list[str]) -> dict[str, int]:
    """Return of how many random proteins, which have neither, the rules of thumb say otherwise."""
    return {
        "num": len(proteins),
        "signal_peptide": sum(map(has_signal_peptide, proteins)),
        "transmembrane": sum(bool(transmembrane_stretches(each)) for each in proteins),
    }


def has_site(dna: str, bases: str) -> bool:
    return bases in dna or str(Seq(bases).reverse_complement()) in dna


def windows(dna: str) -> list[str]:
    return [dna[place : place + WINDOW] for place in range(len(dna) - WINDOW + 1)]


def in_range(part: str) -> bool:
    return LOW * len(part) <= 100 * (part.count("G") + part.count("C")) <= HIGH * len(part)


if __name__ == "__main__":
    sys.exit(main())
