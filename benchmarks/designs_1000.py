"""1,000 designs of 50 to 250 residues: are they what was asked for, whatever the batches?

    python benchmarks/designs_1000.py --model tiny-student --steps 8

Checks that only the 20 residues come out, that ids are unique and lengths as asked; and that
another --batch-tokens gives the same designs by the rule of the design: in float32 at least 999 of
1,000 identical, and each difference starts at a draw within 1e-5 of a boundary between two
residues. Writes JSON to benchmarks/results/; the exit status is 1 where a check fails.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from didi_core.commands.generating.domain import length_limit
from didi_core.diffusion.draws import Stream, keyed_uniform
from didi_core.io.files import write_json
from didi_core.models.folder import LoadedModel
from didi_core.sampling.filling import build_prior
from didi_core.sampling.registry import build_predictor
from didi_core.sampling.request import SampleSettings
from didi_core.sampling.reveal import NEVER, ancestral_plan
from didi_core.training.run_folder import git_revision
from didi_protein.generate import generate
from didi_protein.generating.options import GenerateOptions, GenerateResult
from didi_protein.models.load import open_model
from didi_protein.sequences.fasta import ProteinRecord, read_records
from didi_protein.sequences.lengths import design_lengths
from didi_protein.sequences.residues import CANONICAL_RESIDUES

LEAST_IDENTICAL = 0.999
BOUNDARY = 1e-5


def main() -> int:
    arguments = parse_arguments()
    model = open_model(arguments.model)
    with tempfile.TemporaryDirectory() as folder:
        one = run(arguments, model, Path(folder) / "one.fasta", arguments.batch_tokens)
        other = run(arguments, model, Path(folder) / "other.fasta", arguments.other_batch_tokens)
        first, second = read_records([one.fasta]), read_records([other.fasta])
        made = json.loads(one.summary.read_text(encoding="utf-8"))
    wanted = design_lengths(arguments.length, arguments.num, arguments.seed, length_limit(model))
    settings = SampleSettings(
        steps=arguments.steps,
        seed=arguments.seed,
        reveal_exponent=made["settings"]["reveal_exponent"],
    )
    checks = check_designs(first, wanted) | check_same(first, second, model, settings)
    passed = all(value for value in checks.values() if isinstance(value, bool))
    write_json(arguments.out, describe(arguments, made, checks, passed))
    print(json.dumps({"passed": passed, **checks}, indent=2))
    return 0 if passed else 1


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="tiny-student")
    parser.add_argument("--num", type=int, default=1000)
    parser.add_argument("--length", default="50-250")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch-tokens", type=int, default=8192)
    parser.add_argument("--other-batch-tokens", type=int, default=3000)
    results = Path(__file__).parent / "results" / "designs_1000.json"
    parser.add_argument("--out", type=Path, default=results)
    return parser.parse_args()


def run(
    arguments: argparse.Namespace, model: LoadedModel, out: Path, batch_tokens: int
) -> GenerateResult:
    options = GenerateOptions(
        model=arguments.model,
        num=arguments.num,
        length=arguments.length,
        steps=arguments.steps,
        sampler="ancestral",
        seed=arguments.seed,
        batch_tokens=batch_tokens,
        out=out,
    )
    return generate(options, model)


def check_designs(records: list[ProteinRecord], wanted: list[int]) -> dict[str, Any]:
    """Residues, ids and lengths of one run."""
    letters = set("".join(record.sequence for record in records))
    return {
        "num_designs": len(records),
        "only_valid_residues": letters <= set(CANONICAL_RESIDUES),
        "unique_ids": len({record.id for record in records}) == len(records),
        "lengths_as_asked": [len(record.sequence) for record in records] == wanted,
        "headers_state_the_length": all(
            record.header["length"] == str(len(record.sequence)) for record in records
        ),
        "num_distinct_sequences": len({record.sequence for record in records}),
    }


def check_same(
    first: list[ProteinRecord],
    second: list[ProteinRecord],
    model: LoadedModel,
    settings: SampleSettings,
) -> dict[str, Any]:
    """The rule for another --batch-tokens."""
    pairs = enumerate(zip(first, second, strict=True))
    differing = [(number, a, b) for number, (a, b) in pairs if a.sequence != b.sequence]
    distances = [
        distance_to_boundary(model, settings, number, a.sequence, b.sequence)
        for number, a, b in differing
    ]
    identical = len(first) - len(differing)
    same = identical >= LEAST_IDENTICAL * len(first)
    near = all(distance <= BOUNDARY for distance in distances)
    return {
        "identical_with_other_batches": identical,
        "first_difference_to_boundary": distances,
        "same_with_other_batches": same and near,
    }


@torch.no_grad()
def distance_to_boundary(
    model: LoadedModel, settings: SampleSettings, record: int, one: str, other: str
) -> float:
    """How far the uniform number of the first draw that fell differently is from a boundary.

    Up to that draw both runs were in the same state, so its distribution can be computed again.
    The largest distance, where several draws of one step differ.
    """
    vocabulary = model.vocabulary
    rows = [
        torch.tensor(vocabulary.frame(vocabulary.id_of_token[letter] for letter in sequence))
        for sequence in (one, other)
    ]
    empty = [vocabulary.mask_id] * len(one)
    prior = build_prior([vocabulary.frame(empty)], [record], vocabulary, "cpu")
    plan = ancestral_plan(prior, settings)[0, : len(rows[0])]
    step = int(plan[rows[0] != rows[1]].min())
    differing = (rows[0] != rows[1]) & (plan == step)
    known = (plan < step) | (plan == NEVER)
    state = torch.where(known, rows[0], vocabulary.mask_id)
    batch = build_prior([state.tolist()], [record], vocabulary, "cpu").batch
    at = torch.zeros_like(batch.maskable)
    at[0, : len(differing)] = differing
    log_probs = build_predictor(model).log_probs(batch.tokens, batch.lengths, at)
    cumulative = log_probs.double().softmax(-1).cumsum(-1)
    position = differing.nonzero()[:, 0]
    uniform = keyed_uniform(settings.seed, Stream.TOKEN, record, position, step)
    return float((cumulative - uniform[:, None]).abs().amin(-1).max())


def describe(
    arguments: argparse.Namespace, made: dict[str, Any], checks: dict[str, Any], passed: bool
) -> dict[str, Any]:
    """The contents of the result file.

    Args:
        made: `NAME.generate.json` of the first run.
    """
    costs = ("seconds", "mean_nfe", "device", "versions", "settings")
    return {
        "what": Path(__file__).name,
        "passed": passed,
        "checks": checks,
        **{name: made[name] for name in costs},
        "other_batch_tokens": arguments.other_batch_tokens,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "git_revision": git_revision(),
    }


if __name__ == "__main__":
    sys.exit(main())
