"""MAUVE of samples against natural texts [1]_, with the judge's hidden states as features.

.. [1] Pillutla et al. "MAUVE: Measuring the gap between neural text and human text using
   divergence frontiers", NeurIPS 2021.
"""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from didi_core.errors import UserError, missing_extra
from didi_text.corpora_documents import read_documents
from didi_text.evaluate_models import CausalLanguageModel

FEWEST_TEXTS = 20
"""Below this the clustering that MAUVE rests on has nothing to cluster."""


def mauve_against(
    judge: CausalLanguageModel, texts: Sequence[str], file: Path, max_tokens: int, seed: int
) -> dict[str, Any]:
    """MAUVE of `texts` against as many natural ones of `file`; 0 to 1, 1 is best.

    Args:
        file: value of --mauve.
        max_tokens: tokens of a text that the judge reads.

    Raises:
        UserError: the package is missing, or there are too few texts.
    """
    compute = _package()
    natural = list(itertools.islice(read_documents(file), len(texts)))
    if min(len(texts), len(natural)) < FEWEST_TEXTS:
        raise UserError(
            f"--mauve {file}: {len(natural)} natural texts and {len(texts)} samples; "
            f"MAUVE needs {FEWEST_TEXTS} of each."
        )
    result = compute(
        p_features=features(judge, natural, max_tokens),
        q_features=features(judge, texts, max_tokens),
        seed=seed,
        verbose=False,
    )
    return {"mauve": float(result.mauve), "num_natural": len(natural), "num_samples": len(texts)}


@torch.no_grad()
def features(
    judge: CausalLanguageModel, texts: Sequence[str], max_tokens: int
) -> NDArray[np.float32]:
    """The last layer's state at the last token of each text [texts, hidden].

    An empty text counts as an end of text alone.
    """
    device = next(judge.network.parameters()).device
    rows = []
    for ids in judge.tokenizer.encode_many(texts):
        tokens = torch.tensor([ids[:max_tokens] or [judge.tokenizer.end_id]], device=device)
        states = judge.network(input_ids=tokens, output_hidden_states=True).hidden_states
        rows.append(states[-1][0, -1].float().cpu().numpy())
    return np.stack(rows)


def _package() -> Any:
    try:
        from mauve import compute_mauve
    except ImportError as error:
        raise missing_extra("mauve-text", "mauve") from error
    return compute_mauve
