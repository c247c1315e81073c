"""States to learn at: whole sequences drawn in few steps, and others masked."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from didi_core.data.batches import TokenBatch
from didi_core.data.vocabulary import Vocabulary
from didi_core.diffusion.absorbing import AbsorbingProcess
from didi_core.diffusion.draws import Stream, keyed_uniform
from didi_core.distill.rollout import with_own_tokens
from didi_core.models.sharding import is_sharded
from didi_core.sampling.predictor import Predictor


@dataclass(frozen=True)
class States:
    """Draws whole sequences in few steps, and masks sequences; keyed by row and update."""

    vocabulary: Vocabulary
    seed: int
    reveal_exponent: float

    def drawn(
        self,
        source: Predictor,
        batch: TokenBatch,
        rows: Int[Tensor, "batch"],
        chosen: Bool[Tensor, "batch"],
        num_steps: int,
        key: int,
    ) -> TokenBatch:
        """Return `batch`, the chosen rows drawn by `source` as the ancestral sampler would."""
        uniform = self._at_positions(Stream.REVEAL, batch, rows, key)
        # Revealed when alpha = r ** exponent passes the position's number, at progress r.
        progress = uniform ** (1.0 / self.reveal_exponent)
        in_step = is_sharded(source.denoiser)
        tokens = with_own_tokens(
            source, batch, chosen, progress, num_steps, (self.seed, rows, key), in_step
        )
        return batch.with_tokens(tokens)

    def masked(
        self, batch: TokenBatch, rows: Int[Tensor, "batch"], key: int
    ) -> tuple[TokenBatch, Float[Tensor, "batch"]]:
        """Return `batch` masked at a uniform time of each row, and the times."""
        t = keyed_uniform(self.seed, Stream.TIME, key, rows, device=rows.device).float()
        uniform = self._at_positions(Stream.CORRUPT, batch, rows, key)
        process = AbsorbingProcess(self.vocabulary.mask_id)
        return batch.with_tokens(process.corrupt(batch.tokens, batch.maskable, t, uniform)), t

    def chosen(self, share: float, rows: Int[Tensor, "batch"], key: int) -> Bool[Tensor, "batch"]:
        """Choose each row with probability `share`."""
        # A key more than the times have.
        return keyed_uniform(self.seed, Stream.TIME, key, rows, 1, device=rows.device) < share

    def where_masked(self, state: TokenBatch) -> Bool[Tensor, "batch width"]:
        """Mark what is to be predicted."""
        return state.maskable & (state.tokens == self.vocabulary.mask_id)

    def _at_positions(
        self, stream: Stream, batch: TokenBatch, rows: Int[Tensor, "batch"], key: int
    ) -> Float[Tensor, "batch width"]:
        position = torch.arange(batch.tokens.shape[1], device=rows.device)
        return keyed_uniform(self.seed, stream, rows[:, None], position, key, device=rows.device)
