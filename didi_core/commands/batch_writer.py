"""What `generate` does with one batch, without files: for measuring how fast a model writes."""

from collections.abc import Sequence

from didi_core.commands.generation import sample_settings, with_stored_defaults
from didi_core.commands.sampling_options import SamplingOptions
from didi_core.evaluation.timing import Write
from didi_core.models.folder import LoadedModel
from didi_core.sampling.filling import build_prior
from didi_core.sampling.registry import build_predictor, find_sampler


def batch_writer(options: SamplingOptions, model: LoadedModel, row: Sequence[int]) -> Write:
    """A function that writes the sequences of given records in one batch, to their ids.

    Seed, sampler, steps, draws and temperature are those of `options`; where `generate` halves a
    batch that memory does not hold, this raises.

    Args:
        row: framed ids that every record starts from, the mask where something is generated.

    Raises:
        UserError: settings the sampler does not take, or a model that lacks what it needs.
    """
    options = with_stored_defaults(options, model)
    kind, settings = find_sampler(str(options.sampler)), sample_settings(options, bias=None)
    predictor = build_predictor(model, with_noise=not options.without_noise)
    sampler = kind.build(predictor, model, options.sampler_options)

    def write(records: Sequence[int]) -> list[list[int]]:
        rows = [row] * len(records)
        prior = build_prior(rows, records, model.vocabulary, predictor.device)
        sampled = sampler.sample(prior, settings)
        return [ids[: len(row)] for ids in sampled.tokens.tolist()]

    return write
