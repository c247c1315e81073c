"""The discriminator of DiDi-Instruct: which positions look like the reference's.

A copy of the teacher whose output layer is replaced by a spectrally normalised per-token head: in
the DiT layout its norm too, as published; in the ESM layout the final norm is kept.

With hard labels its best logit at a masked position would be the log density ratio of the state,
log p_reference / q_student, the same at every position of the state. Trained with labels smoothed
by s it is log ((1 - s) p + s q) / (s p + (1 - s) q): it rises with that ratio, so a higher logit is
a better sample (METHODS 2, step 4), but is bounded by log (1 - s) / s, log 9 for the published 0.1.
"""

import copy
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from safetensors.torch import save_file
from torch import Tensor, nn

from didi_core.errors import UserError
from didi_core.io.files import atomic_path
from didi_core.models.denoiser import Denoiser
from didi_core.models.dit import DitDenoiser
from didi_core.models.dit_files import CHECKPOINT_SUFFIX
from didi_core.models.dit_names import published_name
from didi_core.models.lightning_ckpt import read_lightning_checkpoint
from didi_core.models.positions import flat_positions, head_at
from didi_core.models.safe_reader import read_weights
from didi_core.models.soft_tokens import SoftTokens


class DiscriminatorHead(nn.Module):
    """Linear, SiLU, Linear to one logit; both spectrally normalised.

    Uses torch's older hook, whose tensors carry the published names `weight_orig`, `weight_u` and
    `weight_v`.
    """

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.utils.spectral_norm(nn.Linear(hidden_size, hidden_size)),
            nn.SiLU(),
            nn.utils.spectral_norm(nn.Linear(hidden_size, 1)),
        )

    def forward(self, hidden: Float[Tensor, "n hidden"]) -> Float[Tensor, "n"]:
        return self.main(hidden).squeeze(-1)


class Discriminator(nn.Module):
    """Tokens (or soft tokens) to one logit at each chosen position."""

    def __init__(self, teacher: Denoiser) -> None:
        super().__init__()
        self.trunk = copy.deepcopy(teacher)
        self.trunk.drop_output_layer()
        head = DiscriminatorHead(teacher.settings.hidden_size)
        self.output_layer = head.to(teacher.embedding.weight)  # its device and type

    def train_last_blocks(self, count: int) -> None:
        """Let the head, the final norm where it is kept, and the last `count` blocks train."""
        self.requires_grad_(False)
        self.output_layer.requires_grad_(True)
        if hasattr(self.trunk, "final_norm"):
            self.trunk.final_norm.requires_grad_(True)
        for block in self.trunk.blocks[max(0, len(self.trunk.blocks) - count) :]:
            block.requires_grad_(True)

    def logits_at(
        self,
        tokens: Int[Tensor, "batch width"],
        lengths: Int[Tensor, "batch"],
        at: Bool[Tensor, "batch width"],
        soft: SoftTokens | None = None,
        alpha: Float[Tensor, "batch"] | None = None,
    ) -> Float[Tensor, "chosen"]:
        """Return the logits where `at` is True, in row-major order, in float32 or better.

        Args:
            alpha: share of tokens kept in each row, for a trunk that is conditioned on time.
        """
        positions = flat_positions(at)
        states = self.trunk.states(tokens, lengths, soft, alpha=alpha)
        logits = head_at(self.output_layer, states, positions)
        return logits if logits.dtype == torch.float64 else logits.float()


def save_discriminator(discriminator: Discriminator, path: Path) -> None:
    """Write its tensors; those of a DiT under the names of DiDi-Instruct's released file."""
    tensors = {
        _stored_name(name, discriminator): tensor.detach().cpu().contiguous().clone()
        for name, tensor in discriminator.state_dict().items()
    }
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={"format": "pt"})


def load_discriminator(teacher_layout: Denoiser, path: Path) -> Discriminator:
    """Load the discriminator stored at `path`, for the model beside it: its layout, its device.

    Args:
        path: a `discriminator.safetensors`, or a training checkpoint of DiDi-Instruct (`.ckpt`).

    Raises:
        UserError: a broken file, or tensors that are missing, unexpected, of another shape, or
            not finite.
    """
    discriminator = Discriminator(teacher_layout)
    stored = _read(path)
    state = discriminator.state_dict()
    expected = {_stored_name(name, discriminator): tensor for name, tensor in state.items()}
    wrong = sorted(expected.keys() ^ stored.keys())
    wrong += [n for n in expected if n in stored and expected[n].shape != stored[n].shape]
    if wrong:
        raise UserError(f"{path} does not fit its model: {', '.join(wrong[:8])}.")
    strange = [name for name, tensor in stored.items() if not tensor.isfinite().all()]
    if strange:
        raise UserError(f"{path} holds values that are not finite: {', '.join(strange[:8])}.")
    discriminator.load_state_dict({n: stored[_stored_name(n, discriminator)] for n in state})
    return discriminator.eval().requires_grad_(False)


def _stored_name(name: str, discriminator: Discriminator) -> str:
    if not isinstance(discriminator.trunk, DitDenoiser) or not name.startswith("trunk."):
        return name
    return published_name(name.removeprefix("trunk."))


def _read(path: Path) -> dict[str, Tensor]:
    if path.suffix == CHECKPOINT_SUFFIX:
        stored = read_lightning_checkpoint(path).discriminator
    else:
        stored = read_weights(path)
    return {name: tensor for name, tensor in stored.items() if not name.endswith("inv_freq")}


def soft_tokens(
    log_probs: Float[Tensor, "masked generable"],
    masked: Bool[Tensor, "batch width"],
    generable: Int[Tensor, "generable"],
    vocabulary_size: int,
) -> SoftTokens:
    """Give the student's distribution at masked positions as input of the discriminator."""
    probabilities = log_probs.new_zeros(log_probs.shape[0], vocabulary_size)
    probabilities = probabilities.index_copy(1, generable.to(log_probs.device), log_probs.exp())
    return SoftTokens(masked, probabilities)
