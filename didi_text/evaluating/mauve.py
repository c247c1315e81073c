"""MAUVE of samples against natural texts [1]_, with the judge's hidden states as features.

.. [1] Pillutla et al. "MAUVE: Measuring the gap between neural text and human text using
   divergence frontiers", NeurIPS 2021.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from didi_core.errors import UserError, missing_extra
from didi_text.models.load import CausalLanguageModel
from didi_text.samples.reference import reference_samples

FEWEST_TEXTS = 20
"""Below this the clustering that MAUVE rests on has nothing to cluster."""


def mauve_against(
    judge: CausalLanguageModel, texts: Sequence[str], file: Path, max_tokens: int, seed: int
) -> dict[str, Any]:
    """MAUVE of `texts` against as many natural ones; 0 to 1, 1 is best.

    The natural ones are blocks of `file`, spread evenly over it and as long as `texts` (their
    median): from longer ones every sample would differ, however good. So it would from blocks
    framed by ends of text where its model writes none; those at either end are left out of both.

    Args:
        file: value of --mauve.
        max_tokens: tokens of a text that the judge reads.

    Raises:
        UserError: the package is missing, or there are too few texts.
    """
    compute = _package()
    samples = [ids[:max_tokens] for ids in judge.tokenizer.encode_many(texts)]
    length = int(np.median([len(ids) for ids in samples])) if samples else 0
    natural = _natural(judge, file, len(samples), length) if length > 2 else []
    if min(len(samples), len(natural)) < FEWEST_TEXTS:
        raise UserError(
            f"--mauve {file}: {len(natural)} natural blocks of {length} tokens and {len(texts)} "
            f"samples; MAUVE needs {FEWEST_TEXTS} of each."
        )
    result = compute(
        p_features=features(judge, natural),
        q_features=features(judge, samples),
        seed=seed,
        verbose=False,
    )
    return {
        "mauve": float(result.mauve),
        "num_natural": len(natural),
        "num_samples": len(samples),
        "block_length": length,
    }


def _natural(judge: CausalLanguageModel, file: Path, num: int, length: int) -> list[list[int]]:
    blocks = reference_samples(file, judge.tokenizer, num=num, length=str(length), limit=length)
    return blocks.ids or []


@torch.no_grad()
def features(judge: CausalLanguageModel, sequences: Sequence[list[int]]) -> NDArray[np.float32]:
    """The last layer's state at the last token of each sequence of ids [sequences, hidden].

    Ends of text at either end are left out; nothing but such counts as one of them.
    """
    device, end = next(judge.network.parameters()).device, judge.tokenizer.end_id
    rows = []
    for ids in sequences:
        tokens = torch.tensor([_without_frame(ids, end) or [end]], device=device)
        states = judge.network(input_ids=tokens, output_hidden_states=True).hidden_states
        rows.append(states[-1][0, -1].float().cpu().numpy())
    return np.stack(rows)


def _without_frame(ids: list[int], end: int) -> list[int]:
    inner = [place for place, each in enumerate(ids) if each != end]
    return ids[inner[0] : inner[-1] + 1] if inner else []


def _package() -> Any:
    try:
        from mauve import compute_mauve
    except ImportError as error:
        raise missing_extra("mauve-text", "mauve") from error
    return compute_mauve
