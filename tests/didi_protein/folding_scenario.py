"""Two hundred records of every kind, and one that never fits; also run as a program, to be killed.

python folding_scenario.py SECONDS score FASTA --out F.csv ...   (the flags of didi-protein)
"""

import sys
import time

import torch
from scoring_fixtures import quick_scores, random_sequences

from didi_protein.app import main
from didi_protein.folding import esmfold, memory

NUM_RECORDS = 200
OOM_RESIDUES = 23
"""The record of this length runs out of memory, in any batch and any chunk."""
FREE_BYTES = 2_000_000_000
"""What the machine is said to have: too little for 5,000 residues of the small model."""


def write_records(path):
    """Ids are ordinary, doubled, hostile and missing; sequences too."""
    drawn = random_sequences(184, 5, 26, seed=5)
    sequences = [each[: -1 if len(each) == OOM_RESIDUES else None] for each in drawn]
    lines = [f">design_{i}\n{sequence}\n" for i, sequence in enumerate(sequences)]
    lines[10] = f">design_9\n{sequences[10]}\n"  # an id twice, with another sequence
    lines[20] = f">design_19\n{sequences[19]}\n"  # and with the same
    lines[30] = f">../../{'x' * 300}\n{sequences[30]}\n"
    lines[40] = f">DESIGN_41\n{sequences[40]}\n"
    odd = [f">odd_{letter}\nMKT{letter}AYIAK\n" for letter in "XBZUOJ*-1k"]
    empty = [">empty_1\n\n", ">empty_2\n\n", ">\n\n", ">\nMKTAYIAKQR\n"]
    special = [
        f">giant\n{random_sequences(1, 5000, 5000)[0]}\n",
        f">never_fits\n{random_sequences(1, OOM_RESIDUES, OOM_RESIDUES)[0]}\n",
    ]
    records = [*lines[:60], *odd, *special, *lines[60:], *empty]
    assert len(records) == NUM_RECORDS
    path.write_text("".join(records))
    return path


def options_of(fasta, folder, model, **changes):
    folding = {"fold": str(model), "pdb_dir": folder / "pdb", "fold_pairs": 8_000}
    return quick_scores(fasta, folder / "scores.csv", **folding, fold_recycles=0, **changes)


def flags_of(options):
    """The same request on the command line."""
    flags = ["score", *options.inputs, "--out", options.out, "--pdb-dir", options.pdb_dir]
    flags += ["--judge", "none", "--pseudo", "none", "--fold", options.fold, "--device", "cpu"]
    flags += ["--fold-pairs", options.fold_pairs, "--fold-recycles", 0, "--threads", 1]
    return [str(each) for each in [*flags, *(["--resume"] if options.resume else [])]]


def simulate_memory(set_attribute, seconds=0.0):
    """A machine with little memory. `set_attribute(object, name, value)` may undo itself.

    Returns:
        The sizes of the batches that ran out, with their chunk sizes.
    """
    fold, failures = esmfold.run_network, []

    def limited(network, sequences, recycles, chunk_size):
        time.sleep(seconds)
        if any(len(each) == OOM_RESIDUES for each in sequences):
            failures.append((len(sequences), chunk_size))
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return fold(network, sequences, recycles, chunk_size)

    set_attribute(esmfold, "run_network", limited)
    set_attribute(memory, "available_memory", lambda: FREE_BYTES)
    return failures


if __name__ == "__main__":
    simulate_memory(setattr, float(sys.argv[1]))
    sys.argv = ["didi-protein", *sys.argv[2:]]
    main()
