"""`didi-protein pretrain`: a teacher (or an autoregressive judge) from protein sequences.

didi-protein pretrain data=sequences.fasta.gz valid=held_out.fasta out=runs/teacher steps=5000
"""

from pathlib import Path
from typing import ClassVar

from torch import nn
from transformers import PreTrainedModel

from didi_core.commands.training.pretrain import PretrainRun
from didi_core.data.corpus import Corpus
from didi_core.models.esm import EsmDenoiser, EsmSettings
from didi_core.models.folder import save_model_folder
from didi_core.number_checks import positive_int_errors
from didi_protein.models.causal import build_causal_model, save_causal_folder
from didi_protein.sequences.alphabet import PROTEIN
from didi_protein.sequences.training_data import load_corpus
from didi_protein.settings import PretrainSettings


def pretrain(settings: PretrainSettings) -> Path:
    """Train a model from sequences and save it as a model folder in `settings.out`.

    Returns:
        The folder.

    Raises:
        UserError: an output that exists, unreadable data, or a setting without sense.
    """
    return ProteinPretrainRun(settings).run()


class ProteinPretrainRun(PretrainRun[PretrainSettings]):
    """Pre-training on sequences of residues, in the ESM-2 layout or as a Llama."""

    program = "didi-protein"
    unit = "residue"
    rows = "sequences"
    tags = ("protein", "masked-diffusion")
    title = "protein model"
    descriptions: ClassVar = {
        "masked": "A masked-diffusion protein language model (ESM-2 layout, no time input).",
        "uniform": "A uniform-state diffusion protein language model (ESM-2 layout and time).",
        "sedd": "A score-entropy protein language model (SEDD, ESM-2 layout and time).",
        "autoregressive": "An autoregressive protein language model: a judge, or a baseline.",
    }
    vocabulary = PROTEIN

    def problems(self) -> list[str]:
        settings = self.settings
        wrong = [*super().problems(), *positive_int_errors(settings, "max_length")]
        if settings.too_long not in ("crop", "drop"):
            wrong.append(f"too_long={settings.too_long} must be crop or drop")
        if settings.max_length > settings.model.max_residues:
            wrong.append(f"max_length={settings.max_length} is past model.max_residues")
        return wrong

    @property
    def max_length(self) -> int:
        return self.settings.max_length

    def load_corpora(self) -> tuple[Corpus, Corpus | None]:
        valid = self.settings.valid
        held_out = self._load(valid, "valid=") if valid else None
        return self._load(self.settings.data, "data="), held_out

    def _load(self, source: str, name: str) -> Corpus:
        corpus = load_corpus(source, name)
        if self.settings.too_long == "crop":
            return corpus
        return corpus.no_longer_than(self.settings.max_length, f"sequence of {name}{source}")

    def build_denoiser(self) -> EsmDenoiser:
        model = self.settings.model
        return EsmDenoiser(
            EsmSettings(
                vocabulary_size=PROTEIN.size,
                num_layers=model.num_layers,
                hidden_size=model.hidden_size,
                num_heads=model.num_heads,
                intermediate_size=model.intermediate_size,
                mask_id=PROTEIN.mask_id,
                max_tokens=model.max_residues + PROTEIN.num_special_per_sequence,
                time_conditioned=self.time_conditioned,
            )
        )

    def build_causal(self) -> PreTrainedModel:
        return build_causal_model(self.settings.model, PROTEIN)

    def save(self, folder: Path, model: nn.Module, card: str) -> None:
        if isinstance(model, EsmDenoiser):
            save_model_folder(folder, model, PROTEIN, card=card, extra_config=self.extra_config)
        else:
            save_causal_folder(folder, model, PROTEIN, card=card)
