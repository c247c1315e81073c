"""Each detokeniser on quoted lines. What is expected was printed by the published code
(s-sahoo/duo, commit 7c9b498f5b717de064d6fad7e2509c866e6cb620, dataloader.py)."""

import pytest

from didi_text.corpora.detokenisers import (
    detokenise_lambada,
    detokenise_lm1b,
    detokenise_ptb,
    detokenise_scientific,
    detokenise_wikitext,
    keep,
)

CASES = [
    (
        detokenise_ptb,
        "two weeks ago viewers of several nbc <unk> consumer segments started calling a N number "
        "for advice on various <unk> issues",
        "two weeks ago viewers of several nbc ? consumer segments started calling a 1 number "
        "for advice on various ? issues",
    ),
    (
        detokenise_ptb,
        "the new syndicated reality show hard copy records viewers ' opinions for $ N N N",
        "the new syndicated reality show hard copy records viewers' opinions for $1 1 N",
    ),
    (
        detokenise_wikitext,
        ' He had a guest @-@ starring role as " Craig " in the episode " Teddy \'s Story " ; \n',
        ' He had a guest-starring role as "Craig" in the episode "Teddy\'s Story";\n',
    ),
    (
        detokenise_wikitext,
        " = = Career = = \n It rose by 2 @.@ 5 ° ( N 1 @,@ 000 [ see notes ] ) . \n",
        " == Career ==\nIt rose by 2.5°(N 1,000 [see notes]).\n",
    ),
    (
        detokenise_lm1b,
        "The U.S. said : \" We 'll see at http : / / a.com , is n't it ? \" ( maybe ) for £ 5 .",
        "The U.S. said: \"We'll see at http://a.com, is n't it?\" (maybe) for £5.",
    ),
    (
        detokenise_lambada,
        " \u201cNo insurance?\u201d she wailed. \u201cWhat do you mean",
        '\n"No insurance?" she wailed. "What do you mean',
    ),
    (
        detokenise_scientific,
        "the mean age ( @xmath0 years ) was 5 @.@ 2 , and ' controls ' did not differ .",
        "the mean age (@xmath0 years) was 5.2, and'controls' did not differ.",
    ),
    (
        keep,
        "Fears for T N pension after talks Unions representing workers at Turner   Newall say",
        "Fears for T N pension after talks Unions representing workers at Turner   Newall say",
    ),
]


@pytest.mark.parametrize(("detokenise", "line", "expected"), CASES)
def test_quoted_line(detokenise, line: str, expected: str) -> None:
    assert detokenise(line) == expected
