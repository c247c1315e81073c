"""The zero-shot sets: which file is which, and texts as their publishers' loaders give them."""

import gzip
import json
from pathlib import Path

import pytest

from didi_core.errors import UserError
from didi_core.io.download import RemoteFile
from didi_text.corpora.hub import HubCorpus
from didi_text.evaluating import zero_shot
from didi_text.evaluating.zero_shot import (
    PUBLISHED,
    ZERO_SHOT,
    ChosenSet,
    choose_sets,
    fetch_set,
    texts_of,
)

FILES = {
    "ptb": ("ptb_valid.txt", " but N <unk> say 's \n\n no it 's N N \n"),
    "wikitext": ("wikitext_valid.raw", " = A = \n\n It is 1 @,@ 000 . \n"),
    "lm1b": ("lm1b_test.txt", "It is , he said , so .\n"),
    "lambada": ("lambada_test.jsonl", '{"text": " \\u201cNo,\\u201d he said"}\n'),
    "ag_news": ("ag_news_test.csv", '"3","A ""B""","C, d"\n"4","E","F"\n'),
    "pubmed": ("pubmed_valid.jsonl", '{"article": "low ( p < 1 ) ."}\n'),
    "arxiv": ("arxiv_valid.jsonl", '{"article": "a , b"}\n'),
    "wikitext2_test": ("wikitext2_test.raw", " = T = \n"),
}
TEXTS = {
    "ptb": ["but 1 ? say's", "", "no it's 1 N"],
    "wikitext": [" = A =\n", "", " It is 1,000.\n"],
    "lm1b": ["It is, he said, so."],
    "lambada": ['\n"No," he said'],
    "ag_news": ['A "B" C, d', "E F"],
    "pubmed": ["low (p < 1) ."],
    "arxiv": ["a, b"],
    "wikitext2_test": [" = T =\n"],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, (name, content) in enumerate(FILES.values()):
        if number % 2:
            (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content.encode()))
        else:
            (tmp_path / name).write_text(content)
    return tmp_path


def test_the_seven_published_sets_and_their_splits() -> None:
    splits = {name: ZERO_SHOT[name].split.split(",")[0] for name in PUBLISHED}
    assert splits == {
        "ptb": "validation",
        "wikitext": "validation",
        "lm1b": "test",
        "lambada": "test",
        "ag_news": "test",
        "pubmed": "validation",
        "arxiv": "validation",
    }
    assert not ZERO_SHOT["wikitext2_test"].published


def test_every_set_is_found_and_read_in_a_folder(folder: Path) -> None:
    found = choose_sets(str(folder))
    assert [each.chosen.name for each in found] == list(ZERO_SHOT)
    for each in found:
        assert texts_of(each) == TEXTS[each.chosen.name], each.chosen.name


def test_sets_by_name_and_file(folder: Path) -> None:
    file = folder / "ptb_valid.txt"
    assert choose_sets(f"lambada, ptb={file}") == [
        ChosenSet(ZERO_SHOT["lambada"]),
        ChosenSet(ZERO_SHOT["ptb"], file),
    ]
    assert [each.chosen.name for each in choose_sets(None)] == list(PUBLISHED)
    with pytest.raises(UserError, match="no zero-shot set"):
        choose_sets("ptb,penn")
    with pytest.raises(UserError, match="no file nowhere"):
        choose_sets("ptb=nowhere")
    (folder / "empty").mkdir()
    with pytest.raises(UserError, match="lies there"):
        choose_sets(str(folder / "empty"))


def test_a_csv_of_another_shape_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('"3","only two"\n')
    with pytest.raises(UserError, match="row 1: 2 fields"):
        texts_of(ChosenSet(ZERO_SHOT["ag_news"], tmp_path / "a.csv"))


def test_single_files_are_fetched_once_and_checked(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("DIDI_CACHE", str(tmp_path))
    with pytest.raises(UserError, match="didi-text download ptb"):
        fetch_set(ZERO_SHOT["ptb"], offline=True)
    asked: list[RemoteFile] = []

    def fetch_file(remote: RemoteFile, path: Path) -> Path:
        asked.append(remote)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("a line \n")
        return path

    monkeypatch.setattr(zero_shot, "fetch_file", fetch_file)
    assert texts_of(ChosenSet(ZERO_SHOT["ptb"])) == ["a line"]
    assert asked[0].md5 and asked[0].url.endswith("ptb.valid.txt")
    assert texts_of(ChosenSet(ZERO_SHOT["ptb"]), offline=True) == ["a line"]


def test_hub_sets_are_pinned_to_commits_where_one_is_known() -> None:
    sources = {n: s.source for n, s in ZERO_SHOT.items() if isinstance(s.source, HubCorpus)}
    pinned = {name for name, source in sources.items() if len(source.revision) == 40}
    assert pinned == {"wikitext", "lm1b", "ag_news", "wikitext2_test"}
    assert {sources[name].column for name in ("pubmed", "arxiv")} == {"article"}


def test_hub_sets_are_read_from_parquet(tmp_path: Path, monkeypatch) -> None:
    pytest.importorskip("datasets")
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({"article": ["a , b", "is c ."]}), tmp_path / "a.parquet")
    monkeypatch.setattr(
        zero_shot, "fetch_parquet", lambda _, offline, **_named: [tmp_path / "a.parquet"] * offline
    )
    assert texts_of(ChosenSet(ZERO_SHOT["pubmed"]), offline=True) == ["a, b", "is c."]


def _unreachable(*_, **__):
    raise OSError("no network")


def test_download_names_what_it_cannot_fetch(tmp_path: Path, monkeypatch, capsys) -> None:
    from didi_text import download as verb

    places = {"ptb": tmp_path / "p", "lambada": tmp_path / "l"}

    def fetch(known) -> Path:
        if known.name not in places:
            raise UserError(f"{known.name}: no network")
        return places[known.name]

    monkeypatch.setattr(zero_shot, "fetch_set", fetch)
    assert verb.download(["ptb", "lambada"]) == places
    with pytest.raises(UserError, match=r"arxiv: no network\n.*ptb: fetched"):
        verb.download(["arxiv", "ptb"])
    with pytest.raises(UserError, match=r"lm1b: no network(.|\n)*ptb: fetched"):
        verb.download(["zero-shot"])
    with pytest.raises(UserError, match=r"zero-shto: did you mean zero-shot\? "):
        monkeypatch.setattr("didi_core.models.hub.snapshot_download", _unreachable)
        verb.download(["zero-shto"])
    with pytest.raises(UserError, match="no hub id"):
        verb.download(["a/b/c"])
    verb._run(verb.DownloadOptions(names=["ptb"], json_output=True))
    assert json.loads(capsys.readouterr().out) == {"ptb": str(places["ptb"])}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    file, content = FILES[name]
    plain, packed = tmp_path / file, tmp_path / f"{file}.gz"
    plain.write_bytes(content.encode() + "caf\u00e9\n".encode("latin-1"))
    with pytest.raises(UserError, match=f"{file} is no text in UTF-8"):
        texts_of(ChosenSet(ZERO_SHOT[name], plain))
    packed.write_bytes(gzip.compress(content.encode() * 50)[:-12])
    with pytest.raises(UserError, match=rf"{file}\.gz is cut short or damaged"):
        texts_of(ChosenSet(ZERO_SHOT[name], packed))


def test_a_csv_file_that_no_parser_reads_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ag_news_test.csv"
    path.write_text(f'"3","A","B"\n"4","E","{"x" * 200_000}"\n')
    with pytest.raises(UserError, match=r"ag_news_test\.csv, line 2: no CSV \(field larger"):
        texts_of(ChosenSet(ZERO_SHOT["ag_news"], path))
