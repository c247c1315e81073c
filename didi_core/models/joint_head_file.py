"""`joint_head.safetensors`: the joint head of a model, beside its `model.safetensors`.

`config.json` says under `didi.joint_head` that there is one. Without it the model is an ordinary
one: `transformers` opens the folder and knows nothing of it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from didi_core.errors import UserError
from didi_core.io.files import atomic_path
from didi_core.models.denoiser import Denoiser
from didi_core.models.joint_head import JointHead, JointHeadShape
from didi_core.models.safe_reader import read_weights

LARGE_VOCABULARY = 256
"""Generable tokens above which a new head is of low rank."""
RANK = 64
"""The rank of such a head."""


def head_for(denoiser: Denoiser, num_tokens: int, rank: int | None = None) -> JointHead:
    """Return a joint head of the network's width and number of heads, with undefined weights.

    Args:
        num_tokens: generable tokens.
        rank: see `JointHeadShape`; None: by the number of tokens.
    """
    if rank is None:
        rank = RANK if num_tokens > LARGE_VOCABULARY else 0
    settings = denoiser.settings
    shape = JointHeadShape(settings.hidden_size, settings.num_heads, num_tokens, rank)
    return JointHead(shape)


def save_joint_head(head: JointHead, path: Path) -> None:
    """Write its tensors."""
    tensors = {
        name: tensor.detach().float().cpu().contiguous().clone()
        for name, tensor in head.state_dict().items()
    }
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={"format": "pt"})


def load_joint_head(
    denoiser: Denoiser,
    num_tokens: int,
    path: Path | None,
    config: Mapping[str, Any],
    source: str,
) -> JointHead | None:
    """Load the joint head that a model folder holds; None where it has none.

    Args:
        num_tokens: generable tokens of the model.
        path: of `joint_head.safetensors`, None where the folder lacks it.
        config: the folder's `config.json`; `didi.joint_head` says that there is one.

    Raises:
        UserError: only one of the two is there, or they do not fit the model.
    """
    own = config.get("didi")
    named = bool(own.get("joint_head")) if isinstance(own, dict) else False
    if named != (path is not None):
        there = "config.json names a joint head" if named else "joint_head.safetensors is there"
        lacking = "joint_head.safetensors is missing" if named else "config.json names none"
        raise UserError(f"{source}: {there}, but {lacking}. Fetch the folder again.")
    if path is None:
        return None
    stored = read_weights(path)
    head = head_for(denoiser, num_tokens, _stored_rank(stored))
    expected = head.state_dict()
    wrong = sorted(expected.keys() ^ stored.keys())
    wrong += [n for n in expected if n in stored and expected[n].shape != stored[n].shape]
    if wrong:
        raise UserError(f"{path} does not fit its model: {', '.join(wrong[:8])}.")
    if strange := [name for name, tensor in stored.items() if not tensor.isfinite().all()]:
        raise UserError(f"{path} holds values that are not finite: {', '.join(strange[:8])}.")
    head.load_state_dict(stored)
    return head.to(denoiser.embedding.weight).eval().requires_grad_(False)


def _stored_rank(stored: Mapping[str, torch.Tensor]) -> int:
    narrow = stored.get("narrow.weight")
    return 0 if narrow is None else narrow.shape[0]
