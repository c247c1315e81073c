"""A verb's options are a dataclass; its command line is read off it.

Each field is `Annotated[type, typer.Option(help=...)] = default`, so that a flag, its help, its
default and the Python API are written once. A field without an `Option` belongs to the Python API
alone. This module imports neither torch nor a model: `--help` stays fast.
"""

import inspect
import shlex
from collections.abc import Callable, Collection, Iterator
from dataclasses import MISSING, Field, dataclass, fields
from typing import Annotated, Any, TypeVar, get_type_hints

import typer
from typer.models import ArgumentInfo, ParameterInfo

from didi_core import __version__

Options = TypeVar("Options")

Seed = Annotated[int, typer.Option(help="Seed of every random number.")]
BatchTokens = Annotated[
    int,
    typer.Option(help="Most tokens computed at once: sequences times their padded length."),
]
Device = Annotated[str, typer.Option(help="auto (a GPU where there is one), cpu, cuda or cuda:N.")]
Precision = Annotated[
    str, typer.Option(help="Of the network: float32, bf16, or auto (bf16 where it is native).")
]
ShardText = Annotated[
    str | None,
    typer.Option("--shard", metavar="I/N", help="Do part I of N; put together with merge."),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Continue an interrupted run, also when nothing is there.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an output that exists.")]
Offline = Annotated[bool, typer.Option("--offline", help="Never touch the network.")]
JsonOutput = Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")]


@dataclass(frozen=True, kw_only=True)
class CommonOptions:
    """What every verb that runs a network understands."""

    seed: Seed = 0
    batch_tokens: BatchTokens = 8192
    device: Device = "auto"
    precision: Precision = "float32"
    shard: ShardText = None
    resume: Resume = False
    overwrite: Overwrite = False
    offline: Offline = False
    json_output: JsonOutput = False


def _show_version(context: typer.Context, show: bool) -> None:
    if show:
        print(f"{context.find_root().info_name} {__version__}")
        raise typer.Exit


def command_of(
    options_class: type[Options], run: Callable[[Options], object], help_text: str
) -> Callable[..., None]:
    """Make a function for `typer` whose parameters are the fields of `options_class`.

    Args:
        run: called with the filled dataclass.
        help_text: the first paragraph of `--help`.
    """
    hints = get_type_hints(options_class, include_extras=True)
    version = Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ]

    def command(**values: Any) -> None:
        del values["version"]
        run(options_class(**values))

    parameters = [
        _parameter(field.name, hints[field.name], field.default)
        for field in _in_order(options_class)
        if hasattr(hints[field.name], "__metadata__")
    ]
    parameters.append(_parameter("version", version, False))
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    command.__doc__ = help_text
    return command


def _in_order(options: Any) -> list[Field[Any]]:
    """Return the fields of options: the verb's own first, as in its help."""
    common = {field.name for field in fields(CommonOptions)}
    return sorted(fields(options), key=lambda field: field.name in common)


def _parameter(name: str, annotation: object, default: object) -> inspect.Parameter:
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if default is MISSING else default,
        annotation=annotation,
    )


# The way back: from options to the command that gives them.


def command_line(program: str, verb: str, options: Any, without: Collection[str] = ()) -> str:
    """Return the command that asks for these options; what has its default is left out.

    Args:
        without: names of fields that are left out as well.
    """
    hints = get_type_hints(type(options), include_extras=True)
    words: list[str] = []
    for field in _in_order(options):
        value, hint = getattr(options, field.name), hints[field.name]
        if field.name in without or value in (field.default, None, []):
            continue
        if (info := next(iter(getattr(hint, "__metadata__", ())), None)) is not None:
            words += _words_of(info, field.name, value)
    return shlex.join([program, verb, *words])


def _words_of(info: ParameterInfo, name: str, value: Any) -> Iterator[str]:
    """Yield the words of one option: its value alone where it is an argument, a switch alone."""
    flag = next(iter(info.param_decls or ()), f"--{name.replace('_', '-')}")
    for each in value if isinstance(value, list) else [value]:
        if not isinstance(info, ArgumentInfo):
            yield flag
        if not isinstance(each, bool):
            yield str(each)
