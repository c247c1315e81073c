"""`didi-protein pretrain`: a teacher (or an autoregressive judge) from protein sequences.

didi-protein pretrain data=sequences.fasta.gz valid=held_out.fasta out=runs/teacher steps=5000
"""

from pathlib import Path

from didi_core.commands.training import pretrain as training
from didi_protein.domain import TRAINING
from didi_protein.settings import PretrainSettings


def pretrain(settings: PretrainSettings) -> Path:
    """Train a model from sequences and save it as a model folder in `settings.out`.

    Returns:
        The folder.

    Raises:
        UserError: an output that exists, unreadable data, or a setting without sense.
    """
    return training.pretrain(settings, TRAINING)
