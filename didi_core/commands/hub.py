"""What `push` does in both programs: check a model folder, and upload it to the Hugging Face hub.

Only the files of a model go: neither checkpoints nor the teacher's samples nor logs.
"""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from huggingface_hub import HfApi, get_token
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from huggingface_hub.utils import validate_repo_id
from typer import Argument, Option

from didi_core.cli.command_options import JsonOutput
from didi_core.errors import UserError
from didi_core.io.files import shown, write_text
from didi_core.models.hub import HEADROOM, HTTP_ERROR, TRAINING_SKETCH
from didi_core.models.named import unfinished_run

MODEL_FILES = (
    "config.json", "generation_config.json", "*.safetensors", "*.safetensors.index.json",
    "README.md", "run.json", "reference_rows.json", "vocab.txt", "vocab.json", "merges.txt",
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", TRAINING_SKETCH,
    HEADROOM,
)  # fmt: skip


_HEAD = re.compile(r"\A---\n(.*?)^---\n", re.DOTALL | re.MULTILINE)


_LICENSE = re.compile(r"^license:\s*\S", re.MULTILINE)


@dataclass(frozen=True)
class PushResult:
    """What was uploaded."""

    repo: str
    files: tuple[str, ...]
    """Names within the folder."""
    num_bytes: int
    url: str | None
    """Of the commit; None of a dry run."""


@dataclass(frozen=True, kw_only=True)
class PushOptions:
    """What `push` can be asked for."""

    folder: Annotated[
        Path, Argument(metavar="FOLDER", help="Model folder that pretrain or distill wrote.")
    ]
    repo: Annotated[
        str, Option(metavar="USER/NAME", help="Repository on the Hugging Face hub; made if new.")
    ]
    private: Annotated[
        bool, Option("--private", help="Make a new repository private; an old one stays as it is.")
    ] = False
    license_name: Annotated[
        str | None,
        Option(
            "--license",
            metavar="NAME",
            help="Written into the card where it names none, as in cc-by-4.0.",
        ),
    ] = None
    dry_run: Annotated[
        bool, Option("--dry-run", help="Check the folder, list what would go, send nothing.")
    ] = False
    json_output: JsonOutput = False


def push_folder(
    options: PushOptions, program: str, open_model: Callable[[Path], object]
) -> PushResult:
    """Check everything, then upload in one commit.

    Args:
        program: for messages and for the commit.
        open_model: opens the folder, and raises UserError where it is no whole model.

    Raises:
        UserError: the folder is not whole or its card names no license; the repository's name, the
            token or the network will not do.
    """
    folder = _checked_folder(options.folder, program)
    _check_name(options.repo)
    open_model(folder)
    card = licensed_card(folder / "README.md", options.license_name)
    token = None if options.dry_run else _token()
    files = shown({path for pattern in MODEL_FILES for path in folder.glob(pattern)})
    if card is not None and not options.dry_run:
        write_text(folder / "README.md", card)
    result = PushResult(
        options.repo,
        tuple(path.name for path in files),
        sum(path.stat().st_size for path in files),
        None if token is None else _upload(options, files, program, token),
    )
    return result


def _checked_folder(folder: Path, program: str) -> Path:
    if not folder.is_dir():
        raise UserError(f"FOLDER {folder}: there is no such folder; give one that distill wrote.")
    if (verb := unfinished_run(folder)) is not None:
        raise UserError(
            f"FOLDER {folder} is a run that is not finished (it has no config.json yet): go on "
            f"with it by `{program} {verb} ... out={folder} resume=true`, and push it then."
        )
    for name in ("config.json", "README.md"):
        if not (folder / name).is_file():
            raise UserError(f"FOLDER {folder} is no whole model folder: it has no {name}.")
    return folder


def _check_name(repo: str) -> None:
    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise UserError(f"--repo {repo} is no name of a repository: {error}") from error
    if "/" not in repo:
        raise UserError(f"--repo {repo}: say whose it is, as in --repo YOUR-NAME/{repo}.")


def licensed_card(card: Path, license_name: str | None) -> str | None:
    """Return the card with that license in its head; None where it names one already.

    Raises:
        UserError: it names none, and none is given; or another one is.
    """
    text = card.read_text(encoding="utf-8")
    head = _HEAD.match(text)
    named = head and _LICENSE.search(head[1])
    if head and named:
        stated = head[1][named.start() :].splitlines()[0].partition(":")[2].strip()
        if license_name not in (None, stated):
            raise UserError(
                f"--license {license_name}: {card} already names {stated}; leave the flag out, or "
                "change the card."
            )
        return None
    if license_name is None:
        raise UserError(
            f"{card} names no license: give --license NAME, as in --license cc-by-4.0 (what the "
            "teacher and the data allow binds you too), or write license: into its head."
        )
    line = f"license: {license_name}\n"
    if head is None:
        return f"---\n{line}---\n\n{text}"
    return f"---\n{head[1]}{line}---\n{text[head.end() :]}"


def _token() -> str:
    token = get_token()
    if token is None:
        raise UserError(
            "push needs a token of the Hugging Face hub that may write: log in with `hf auth "
            "login`, or set HF_TOKEN (huggingface.co/settings/tokens)."
        )
    return token


def _upload(options: PushOptions, files: list[Path], program: str, token: str) -> str:
    """Upload the files, and return the address of the commit."""
    hub = HfApi(token=token)
    try:
        # Left to the hub where it is not asked for: an organisation may have its own rule.
        hub.create_repo(options.repo, private=options.private or None, exist_ok=True)
        commit = hub.upload_folder(
            repo_id=options.repo,
            folder_path=options.folder,
            # By name: a pattern would also find what lies in the folders of the run.
            allow_patterns=[path.name for path in files],
            commit_message=f"Model of {program}",
        )
    except HfHubHTTPError as error:
        status = None if error.response is None else error.response.status_code
        if status in (401, 403):
            raise UserError(
                f"--repo {options.repo}: the token may not write there; take one that may "
                "(`hf auth login`), or a repository of yours."
            ) from error
        raise UserError(f"--repo {options.repo}: the hub refused it: {error}") from error
    except (HTTP_ERROR, OSError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(
            f"--repo {options.repo}: huggingface.co cannot be reached now ({reason}); the folder "
            "is whole: run the command again where there is network."
        ) from error
    return str(commit)


# What every `push` is asked for, and what it returns. Imports no torch: help is fast.


def report_push(result: PushResult, *, as_json: bool) -> None:
    """Print what was uploaded, and where it is now."""
    if as_json:
        print(json.dumps(asdict(result), indent=2))
        return
    print("\n".join(f"  {name}" for name in result.files))
    size = f"{len(result.files)} files, {result.num_bytes / 1e6:,.1f} MB"
    if result.url is None:
        print(f"{size}: the folder is whole and would go to {result.repo}; nothing was sent.")
    else:
        print(f"{size}: {result.url}")


# What `download` does in both programs: fetch each name, go on after one that fails.


def fetch_all(
    names: Sequence[str], fetch_one: Callable[[str], Path], known: Iterable[str]
) -> dict[str, Path]:
    """Fetch each of `names`.

    Args:
        known: names that users often mean, to be suggested for one that is much alike.

    Returns:
        Where each lies now.

    Raises:
        UserError: some could not be fetched; the message has one reason for each.
    """
    from didi_core.models.named import nearest_name

    known = list(known)
    fetched: dict[str, Path] = {}
    problems: list[str] = []
    for name in names:
        try:
            fetched[name] = fetch_one(name)
        except UserError as error:
            near = None if name in known else nearest_name(name, known)
            hint = "" if near is None else f"{name}: did you mean {near}? "
            problems.append(f"{hint}{error}")
    if problems:
        raise UserError("\n".join([*problems, *(f"{name}: fetched" for name in fetched)]))
    return fetched
