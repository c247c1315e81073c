"""A tiny model folder with random weights, and `didi-protein` run on it."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from didi_core.models.esm import EsmDenoiser, EsmSettings
from didi_core.models.folder import save_model_folder
from didi_protein.generate import generate
from didi_protein.generating.options import GenerateOptions, GenerateResult
from didi_protein.sequences.alphabet import PROTEIN
from didi_protein.sequences.fasta import ProteinRecord, read_records

LIMIT = 300
"""Residues the tiny model takes."""


def write_tiny_model(folder: Path, seed: int = 0) -> Path:
    """A folder of a network of 2 layers, 32 wide, far from uniform."""
    settings = EsmSettings(PROTEIN.size, 2, 32, 4, 64, PROTEIN.mask_id, max_tokens=LIMIT + 2)
    denoiser = EsmDenoiser(settings)
    generator = torch.Generator().manual_seed(seed)
    for parameter in denoiser.parameters():
        parameter.data.normal_(0, 0.3, generator=generator)
    save_model_folder(folder, denoiser, PROTEIN, card="random weights, for tests")
    return folder


def design(model: Path, out: Path, **changes: Any) -> GenerateResult:
    """`generate` with small defaults."""
    defaults: dict[str, Any] = {"num": 12, "steps": 4, "batch_tokens": 256, "quiet": True}
    if not {"template", "motif"} & set(changes):
        defaults["length"] = "20-40"
    if changes.get("sampler") == "first-hitting":
        del defaults["steps"]
    return generate(GenerateOptions(model=str(model), out=out, **{**defaults, **changes}))


def designs(result: GenerateResult) -> list[ProteinRecord]:
    return read_records([result.fasta]) if result.num_designs else []


def sequences(result: GenerateResult) -> list[str]:
    return [record.sequence for record in designs(result)]


def command(*arguments: object) -> list[str]:
    """The command line of the program, run by this very interpreter."""
    program = "import sys; from didi_protein.app import main; sys.argv[0] = 'didi-protein'; main()"
    return [sys.executable, "-c", program, *map(str, arguments)]


def run_program(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=600)
