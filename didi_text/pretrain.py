"""`didi-text pretrain`: a teacher (or an autoregressive judge or baseline) from text.

didi-text pretrain data=train.jsonl.gz valid=valid.jsonl.gz tokenizer=gpt2 out=runs/teacher
"""

from pathlib import Path

from didi_core.commands.training import pretrain as training
from didi_text.domain import TRAINING
from didi_text.settings import PretrainSettings


def pretrain(settings: PretrainSettings) -> Path:
    """Train a model from text and save it as a model folder in `settings.out`.

    Returns:
        The folder.

    Raises:
        UserError: an output that exists, unreadable data, or a setting without sense.
    """
    return training.pretrain(settings, TRAINING)
