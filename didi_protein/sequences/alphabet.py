"""The 33 ESM-2 tokens, of which only the 20 canonical residues are ever written."""

from didi_core.data.vocabulary import Vocabulary
from didi_protein.sequences.residues import CANONICAL_RESIDUES

ESM_TOKENS = (
    "<cls>", "<pad>", "<eos>", "<unk>",
    *CANONICAL_RESIDUES,
    "X", "B", "U", "Z", "O", ".", "-", "<null_1>", "<mask>",
)  # fmt: skip

PROTEIN = Vocabulary(
    tokens=ESM_TOKENS,
    mask_id=ESM_TOKENS.index("<mask>"),
    pad_id=ESM_TOKENS.index("<pad>"),
    bos_id=ESM_TOKENS.index("<cls>"),
    eos_id=ESM_TOKENS.index("<eos>"),
    generable_ids=tuple(ESM_TOKENS.index(residue) for residue in CANONICAL_RESIDUES),
)


def encode(sequence: str) -> list[int]:
    """Return the ids of a sequence of canonical residues, framed by `<cls>` and `<eos>`.

    Raises:
        KeyError: a letter is not one of the 33 tokens.
    """
    return PROTEIN.frame(PROTEIN.id_of_token[letter] for letter in sequence)


def decode(ids: list[int]) -> str:
    """Return the letters of the generable ids in `ids`; special tokens are left out."""
    ranks = PROTEIN.rank_of_id
    return "".join(PROTEIN.tokens[index] for index in ids if ranks[index] >= 0)
