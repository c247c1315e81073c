"""The vocabulary of a model folder: `vocab.txt`, the tokenizer files, and roles in `config.json`.

A folder with a byte-pair tokenizer has that in place of `vocab.txt`; the core does not read it.
The roles that `transformers` knows (mask, padding, begin, end) stand under its own keys; which
ids may be generated stands under `didi.generable_ids`. Others' folders lack that key, and the
caller says what their ids mean.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from didi_core.data.vocabulary import Vocabulary
from didi_core.errors import UserError
from didi_core.io.files import write_json, write_text


def vocabulary_config(vocabulary: Vocabulary) -> dict[str, Any]:
    """Return what `config.json` keeps under "didi"."""
    return {"generable_ids": list(vocabulary.generable_ids)}


def tokenizer_config(vocabulary: Vocabulary) -> dict[str, Any]:
    """Return the same for a folder whose tokenizer's files say what its ids mean."""
    return {"num_generable": vocabulary.num_generable}


def write_tokens(folder: Path, vocabulary: Vocabulary) -> None:
    """Write `vocab.txt`: the text of each id, one a line."""
    write_text(folder / "vocab.txt", "\n".join(vocabulary.tokens))


def write_vocabulary(folder: Path, vocabulary: Vocabulary, max_tokens: int) -> None:
    """Write `vocab.txt` and the files by which `transformers` `EsmTokenizer` opens."""
    special = _special_tokens(vocabulary)
    write_tokens(folder, vocabulary)
    write_json(folder / "special_tokens_map.json", special)
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "EsmTokenizer",
            "model_max_length": max_tokens,
            "clean_up_tokenization_spaces": False,
            **special,
        },
    )


def _special_tokens(vocabulary: Vocabulary) -> dict[str, str]:
    ids = {
        "cls_token": vocabulary.bos_id,
        "eos_token": vocabulary.eos_id,
        "mask_token": vocabulary.mask_id,
        "pad_token": vocabulary.pad_id,
        "unk_token": vocabulary.id_of_token.get("<unk>"),
    }
    return {role: vocabulary.tokens[index] for role, index in ids.items() if index is not None}


def read_vocabulary(
    folder: Path, config: Mapping[str, Any], default: Vocabulary | None
) -> Vocabulary:
    """Read the vocabulary of a folder of ours, or `default` where it agrees with another's.

    Raises:
        UserError: the folder does not say what its ids mean and there is no default, or its
            tokens, size, mask or padding differ from the default's.
    """
    tokens = _read_tokens(folder / "vocab.txt")
    own = config.get("didi")
    generable = own.get("generable_ids") if isinstance(own, dict) else None
    if generable is None or tokens is None:
        if default is None:
            raise UserError(f"{folder} does not say which of its token ids may be generated.")
        vocabulary = default
    else:
        _require_ids(folder, generable, config, len(tokens))
        vocabulary = _own_vocabulary(tokens, generable, config)
    _require_agreement(folder, config, tokens, default or vocabulary)
    return vocabulary


def _read_tokens(path: Path) -> tuple[str, ...] | None:
    if not path.is_file():
        return None
    text = path.read_text(encoding="utf-8", errors="replace")
    return tuple(line.strip() for line in text.splitlines())


def _own_vocabulary(
    tokens: tuple[str, ...], generable: list[int], config: Mapping[str, Any]
) -> Vocabulary:
    return Vocabulary(
        tokens=tokens,
        mask_id=config["mask_token_id"],
        pad_id=config["pad_token_id"],
        generable_ids=tuple(generable),
        bos_id=config.get("bos_token_id"),
        eos_id=config.get("eos_token_id"),
    )


def _require_ids(folder: Path, generable: Any, config: Mapping[str, Any], size: int) -> None:
    """Require that the roles are ids of `vocab.txt`, and that no special token is generable."""
    roles = ("mask_token_id", "pad_token_id", "bos_token_id", "eos_token_id")
    special = [config.get(role) for role in roles]
    if any(not _is_id(index, size) for index in special[:2]) or any(
        index is not None and not _is_id(index, size) for index in special[2:]
    ):
        raise UserError(f"{folder}: {', '.join(roles)} in config.json are not ids of vocab.txt.")
    fine = isinstance(generable, list) and generable and all(_is_id(i, size) for i in generable)
    if not fine or generable != sorted(set(generable) - set(special)):
        raise UserError(
            f"{folder}: didi.generable_ids in config.json must list ids of vocab.txt in "
            "increasing order, without special tokens."
        )


def _is_id(value: object, size: int) -> bool:
    return type(value) is int and 0 <= value < size


def _require_agreement(
    folder: Path, config: Mapping[str, Any], tokens: tuple[str, ...] | None, wanted: Vocabulary
) -> None:
    differences = []
    for key, expected in (
        ("vocab_size", wanted.size),
        ("mask_token_id", wanted.mask_id),
        ("pad_token_id", wanted.pad_id),
    ):
        if config.get(key, expected) != expected:
            differences.append(f"{key} in config.json is {config[key]}, not {expected}")
    own = config.get("didi")
    generable = own.get("num_generable") if isinstance(own, dict) else None
    if generable not in (None, wanted.num_generable):
        differences.append(f"{generable} ids may be generated, not {wanted.num_generable}")
    if tokens is not None and tokens != wanted.tokens:
        differences.append(f"vocab.txt lists other tokens than {' '.join(wanted.tokens)}")
    if differences:
        raise UserError(f"{folder} has another vocabulary: {'; '.join(differences)}.")
