"""Turn the tokenised lines of the zero-shot sets back into ordinary text, as published.

Each set has the function that MDLM, SEDD and Duo applied to it: figures compare only if the text
does. So these also do what one would not choose: every number of PTB reads 1, and an unknown word
is a question mark. WikiText's rule for quotation marks is one pair at a time, left to right. (The
published rule for an apostrophe between slashes matches no text and is left out.)
"""

import re
from collections.abc import Sequence

Replacement = tuple[str, str]

_WIKITEXT_LITERAL: Sequence[Replacement] = (
    ("s '", "s'"),
    *((f" @{mark}@ ", mark) for mark in "-,."),
    *((f" {mark} ", f"{mark} ") for mark in ":;.!?,"),
)
_WIKITEXT_PAIRS: Sequence[tuple[str, str]] = (
    *(("(", ")"), ("[", "]"), ("{", "}")),
    *((mark, mark) for mark in "\"'"),
)
_WIKITEXT_REST: Sequence[Replacement] = (
    *(("= " * count + "=", "=" * (count + 1)) for count in (3, 2, 1)),
    (" \N{DEGREE SIGN} ", "\N{DEGREE SIGN}"),
    (" \n", "\n"),
    ("\n ", "\n"),
    (" N ", " 1 "),
    (" 's", "'s"),
)
_LM1B_LITERAL_FIRST: Sequence[Replacement] = (
    ("http : / / ", "http://"),
    ("https : / / ", "https://"),
)
_LM1B_PATTERNS: Sequence[Replacement] = (
    (r" '(\w+)", r"'\1"),
    (r" (\w+) \. ", r" \1. "),
    (r" (\w+) \.$", r" \1."),
)
_LM1B_ENDS: Sequence[Replacement] = (
    (r" \? ", "? "),
    (r" \?$", "?"),
    (r" ! ", "! "),
    (r" !$", "!"),
    *((f" {mark} ", f"{mark} ") for mark in ",:;"),
    (" / ", "/"),
    (r'" ([^"]+) "', r'"\1"'),
    (r"' ([^']+) '", r"'\1'"),
    (r"\( ([^()]+) \)", r"(\1)"),
    (r"\[ ([^\[\]]+) \]", r"[\1]"),
    (r"\$ ", "$"),
    ("\N{POUND SIGN} ", "\N{POUND SIGN}"),
)


def detokenise_ptb(text: str) -> str:
    """Undo Penn Treebank's spelling: contractions joined, numbers 1, unknown words a question mark.

    >>> detokenise_ptb("the company 's profit rose to $ N from $ N in N <unk> that n't")
    "the company's profit rose to $1 from $1 in 1 ? thatn't"
    """
    text = _replace(text, ((" 's", "'s"), ("s ' ", "s' "), (" n't", "n't"), (" \n ", "\n")))
    text = text.replace("\\/", "/")
    # One pass leaves every other one of " N N N " (they share a space); two leave none.
    for _ in range(2):
        text = text.replace(" N ", " 1 ")
    return _replace(text, (("$ 1", "$1"), ("# 1", "#1"), ("<unk>", "?")))


def detokenise_wikitext(text: str) -> str:
    """Undo WikiText's spelling: punctuation, brackets, quotation marks and headings.

    >>> detokenise_wikitext(' It cost 1 @,@ 000 ( or " so " ) , he said . \\n')
    ' It cost 1,000 (or "so"), he said.\\n'
    """
    text = _replace(text, _WIKITEXT_LITERAL)
    for opening, closing in _WIKITEXT_PAIRS:
        inner = rf"([^{re.escape(closing)}]*?)"
        pattern = rf"{re.escape(opening)}\s*{inner}\s*{re.escape(closing)}"
        text = re.sub(pattern, rf"{opening}\1{closing}", text)
    return _replace(text, _WIKITEXT_REST)


def detokenise_lm1b(text: str) -> str:
    """Undo One Billion Words' spelling: punctuation, quotations, brackets, currency, addresses.

    >>> detokenise_lm1b('He said : " It is $ 5 , is n\\'t it ? "')
    'He said: "It is $5, is n\\'t it?"'
    """
    text = _replace(text, _LM1B_LITERAL_FIRST)
    for pattern, replacement in (*_LM1B_PATTERNS, *_LM1B_ENDS):
        text = re.sub(pattern, replacement, text)
    return text


def detokenise_lambada(text: str) -> str:
    """Write LAMBADA in OpenAI's form: straight quotation marks, a line break before each passage.

    >>> detokenise_lambada(" \\u201cNo,\\u201d he said ")
    '\\n"No," he said'
    """
    return "\n" + _replace(text, (("\u201c", '"'), ("\u201d", '"'))).strip()


def detokenise_scientific(text: str) -> str:
    """Undo PubMed's and arXiv's spelling: WikiText's rules, then those of One Billion Words.

    >>> detokenise_scientific("the rate ( p < 0.05 ) was , however , low .")
    'the rate (p < 0.05) was, however, low.'
    """
    return detokenise_lm1b(detokenise_wikitext(text))


def keep(text: str) -> str:
    """Keep the text as it is: AG News passes no detokeniser.

    >>> keep("Ky. Company Wins Grant to Study Peptides (AP)")
    'Ky. Company Wins Grant to Study Peptides (AP)'
    """
    return text


def _replace(text: str, replacements: Sequence[Replacement]) -> str:
    for old, new in replacements:
        text = text.replace(old, new)
    return text
