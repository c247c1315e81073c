"""The Gaussian curriculum of uniform-state models (Duo, arXiv 2506.10892, section 4.1).

In the first part of training the network does not see z_t = argmax(w_t) but softmax(w_t / tau), a
mixture of embeddings near that token's: less noise, and gradients of less variance. Times are those
at which T, the alpha of z_t, lies between 0.95 and 0.05; the loss is the bound's at z_t. At
temperature 0 it is the plain bound over those times.
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from didi_core.data.batches import TokenBatch
from didi_core.data.vocabulary import Vocabulary
from didi_core.diffusion.draws import Stream, keyed_uniform
from didi_core.diffusion.duality import CURRICULUM_ENDS, GaussianSchedule
from didi_core.diffusion.gaussian import noise_of, num_uniforms
from didi_core.diffusion.uniform import UniformProcess
from didi_core.models.soft_tokens import SoftTokens
from didi_core.training.curricula import GaussianSettings


class GaussianCurriculum:
    """Noised batches with soft inputs, and the process their hard tokens follow."""

    def __init__(self, settings: GaussianSettings, vocabulary: Vocabulary, seed: int) -> None:
        self.settings = settings
        self.vocabulary = vocabulary
        self.seed = seed
        size = vocabulary.num_generable
        self.schedule = GaussianSchedule.between(CURRICULUM_ENDS, size)
        self.process = UniformProcess(vocabulary.generable_ids, self.schedule)
        self.num_others = min(settings.top_k or size, size - 1)
        self.num_left = size - 1 - self.num_others if settings.tail else 0

    def corrupt(
        self, batch: TokenBatch, t: Float[Tensor, "batch"], records: np.ndarray, step: int
    ) -> tuple[Int[Tensor, "batch width"], SoftTokens]:
        """Draw z_t, and softmax(w_t / tau) at the positions that may be noised.

        Args:
            records: place in the corpus of each row: with position and step the key of its noise.
        """
        device = batch.tokens.device
        ids = self.vocabulary.generable.to(device)
        clean = self.vocabulary.rank_of_id.to(device)[batch.tokens[batch.maskable]]
        row, position = batch.maskable.nonzero(as_tuple=True)
        number = torch.arange(num_uniforms(self.num_others), device=device)
        record = torch.as_tensor(records, device=device)[row]
        keys = (record[:, None], position[:, None], step, number)
        uniform = keyed_uniform(self.seed, Stream.NOISE, *keys, device=device)
        noise = noise_of(clean, uniform, self.vocabulary.num_generable)
        gamma = self.schedule.gamma(t)[row]
        ranks, probabilities = noise.softmax(gamma, self.settings.temperature, self.num_left)
        # One draw of w_t gives both: its argmax is z_t, in the loss, and its softmax the input.
        noised = batch.tokens.masked_scatter(batch.maskable, ids[noise.argmax(gamma)])
        return noised, SoftTokens(batch.maskable, probabilities, ids[ranks])
