"""`--guide FILE.py:FUNCTION`: steps drawn towards the score of a function of the user's.

The function takes a list of sequences and returns a number for each, larger is better; candidates
of each step are then re-ranked. Where its first parameter is annotated as `torch.Tensor` it takes
probabilities [batch, length, 20], residues in the order of `RESIDUES`, and returns scores [batch]
that have a gradient; the law of each step is then tilted by it. `didi_core.sampling.guidance` says
how. The file is run because the user names it here; nothing else can name one.
"""

import functools
import hashlib
import importlib.util
import inspect
import math
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from didi_core.data.vocabulary import Vocabulary
from didi_core.errors import UserError
from didi_core.io.files import at_home
from didi_core.peak_memory import is_out_of_memory
from didi_core.sampling.guidance import Reranked, Tilted
from didi_core.sampling.step_draw import StepDraw
from didi_protein.generating.options import GenerateOptions
from didi_protein.sequences.residues import CANONICAL_RESIDUES

RESIDUES = "".join(sorted(CANONICAL_RESIDUES))
"""Order of the 20 probabilities of a position: by the alphabet."""
SCALE = 1.0
"""Of `--guide-scale`: a score is worth as many nats as it says."""
NUM_CANDIDATES = 4
"""Of `--guide-candidates`: M, as RGAS has it."""
MOST_CANDIDATES = 10_000
"""Of each sequence and step: more only fill the memory."""


@dataclass(frozen=True)
class UserFunction:
    """A function of the user's file."""

    path: Path
    name: str
    call: Callable[[Any], Any]
    digest: str
    """Of the file."""

    def __str__(self) -> str:
        return f"--guide {self.path}:{self.name}"

    @property
    def label(self) -> str:
        """Return file and function as one word of a header."""
        return "_".join(f"{self.path.name}:{self.name}".split())

    @property
    def takes_probabilities(self) -> bool:
        """Tell whether its first parameter is annotated as a tensor."""
        try:
            parameters = [*inspect.signature(self.call).parameters.values()]
        except (TypeError, ValueError):  # of some built-in callables nothing is known
            return False
        kind = parameters[0].annotation if parameters else None
        return kind is Tensor or (isinstance(kind, str) and kind.split(".")[-1] == "Tensor")

    def __call__(self, given: Any) -> Any:
        """Call it; what it prints goes to standard error.

        Raises:
            UserError: it raised.
        """
        with _blamed(str(self), self.path):
            return self.call(given)


@dataclass(frozen=True)
class SequenceScores:
    """Scores sequences by a user's function; a `SequenceGuide`."""

    function: UserFunction
    decode: Callable[[Sequence[int]], str]

    def scores(self, sequences: Sequence[Sequence[int]]) -> Float[Tensor, "n"]:
        """Return the function's scores of framed ids.

        Raises:
            UserError: it raised, or returned something else than a finite number for each.
        """
        texts = [self.decode(ids) for ids in sequences]
        scores = _as_numbers(self.function(list(texts)), len(texts), self.function)
        _require_finite(scores, f"{self.function}: returned", lambda at: f" for {texts[at]}")
        return scores


@dataclass(frozen=True)
class ScoreGradient:
    """Gives the gradient of a user's function of probabilities; a `GradientGuide`."""

    function: UserFunction
    order: Int[Tensor, "residues"]
    """Place of each of `RESIDUES` among the ids that the model writes."""

    def gradient(
        self, probabilities: Float[Tensor, "n length generable"]
    ) -> Float[Tensor, "n length generable"]:
        """Return d score / d p, each sequence's own.

        Raises:
            UserError: it raised, or its scores are none, or they or their gradient are not finite.
        """
        function, order = self.function, self.order.to(probabilities.device)
        leaf = probabilities[..., order].detach().float().requires_grad_(True)
        with torch.enable_grad():
            scores = function(leaf)
            self._check(scores, len(leaf))
            with _blamed(str(function), function.path):
                (found,) = torch.autograd.grad(scores.sum(), leaf)
        _require_finite(found, f"{function}: its gradient is")
        gradient = torch.empty_like(found)
        gradient[..., order] = found
        return gradient

    def _check(self, scores: object, count: int) -> None:
        if not isinstance(scores, Tensor) or scores.shape != (count,) or not scores.requires_grad:
            raise UserError(
                f"{self.function}: must return a tensor of {count} scores with a gradient, made by "
                f"torch from the probabilities that it is given, but returned {_described(scores)}."
            )
        _require_finite(scores, f"{self.function}: returned")


def open_guide(options: GenerateOptions) -> UserFunction | None:
    """Return the function of `--guide`, its file run; None where there is none.

    Raises:
        UserError: no such file or function, an error in the file, or settings without sense.
    """
    scale, count = options.guide_scale, options.guide_candidates
    if options.guide is None:
        if scale is not None or count is not None:
            flag = "--guide-candidates" if scale is None else "--guide-scale"
            raise UserError(f"{flag}: there is no --guide; give one, or leave {flag} out.")
        return None
    if scale is not None and not math.isfinite(scale):
        raise UserError(f"--guide-scale {scale:g} must be a finite number.")
    if count is not None and not 2 <= count <= MOST_CANDIDATES:
        raise UserError(f"--guide-candidates {count} must be from 2 to {MOST_CANDIDATES}.")
    function = load_function(options.guide)
    if count is not None and function.takes_probabilities:
        raise UserError(
            f"--guide-candidates {count}: {options.guide} takes probabilities, whose gradient "
            "needs no candidates; leave the flag out."
        )
    return function


def load_function(text: str) -> UserFunction:
    """Return the function that FILE.py:FUNCTION names; a file that has not changed runs once.

    Raises:
        UserError: no such file or function, or an error in the file.
    """
    file, _, name = text.rpartition(":")
    if not (file.endswith(".py") and name.isidentifier()):
        raise UserError(f"--guide {text}: give FILE.py:FUNCTION, as in --guide score.py:score.")
    path = Path(at_home(file))
    try:
        source = path.read_bytes()
    except OSError as error:
        raise UserError(f"--guide {text}: {path} cannot be read ({error.strerror}).") from error
    digest = hashlib.sha256(source).hexdigest()[:16]
    module = _run_file(path.resolve(), digest, f"--guide {text}")
    call = getattr(module, name, None)
    if not callable(call):
        found = [each for each, value in vars(module).items() if inspect.isfunction(value)]
        there = f"it has {', '.join(found)}" if found else "it defines no function"
        raise UserError(f"--guide {text}: {path} has no function {name}; {there}.")
    return UserFunction(path, name, call, digest)


def guided_draw(
    function: UserFunction | None,
    options: GenerateOptions,
    vocabulary: Vocabulary,
    decode: Callable[[Sequence[int]], str],
) -> StepDraw | None:
    """Return how steps are drawn; None, the model's own law, without a guide or at scale 0."""
    scale = SCALE if options.guide_scale is None else options.guide_scale
    if function is None or scale == 0:
        return None
    if function.takes_probabilities:
        ids = torch.tensor([vocabulary.id_of_token[letter] for letter in RESIDUES])
        return Tilted(ScoreGradient(function, vocabulary.rank_of_id[ids]), scale)
    return Reranked(SequenceScores(function, decode), scale, _num_candidates(options))


def guide_settings(function: UserFunction | None, options: GenerateOptions) -> dict[str, Any]:
    """Return what of the guide decides the designs; nothing without one."""
    if function is None:
        return {}
    ranks = not function.takes_probabilities
    return {
        "guide": function.label,
        "guide_file": function.digest,
        "guide_scale": SCALE if options.guide_scale is None else options.guide_scale,
        **({"guide_candidates": _num_candidates(options)} if ranks else {}),
    }


def _num_candidates(options: GenerateOptions) -> int:
    return options.guide_candidates or NUM_CANDIDATES


@functools.lru_cache(maxsize=8)
def _run_file(path: Path, digest: str, flag: str) -> Any:
    """Return the file as a module; what it imports may stand beside it."""
    spec = importlib.util.spec_from_file_location(f"didi_guide_{digest}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # behind all else, so that it hides nothing installed
    sys.modules[spec.name] = module  # dataclasses and pickles look for it there
    with _blamed(flag, path):
        spec.loader.exec_module(module)
    return module


@contextmanager
def _blamed(flag: str, path: Path) -> Iterator[None]:
    """Make an error of the user's code a sentence; what it prints goes to standard error.

    Raises:
        UserError: naming the code, the line of its file, and the first line of the error.
    """
    try:
        with redirect_stdout(sys.stderr):
            yield
    except (Exception, SystemExit) as error:
        if is_out_of_memory(error):  # the batch is halved
            raise
        frames = traceback.extract_tb(error.__traceback__)
        own = [each.lineno for each in frames if Path(each.filename) == path.resolve()]
        at = f" (line {own[-1]})" if own else ""
        first = (str(error).splitlines() or [""])[0]
        raise UserError(f"{flag}: {type(error).__name__}{at}: {first}.") from error


def _as_numbers(found: Any, count: int, function: UserFunction) -> Float[Tensor, "n"]:
    """Return what a function gave as float64.

    Raises:
        UserError: it is not one number for each sequence.
    """
    try:
        values = found.detach().cpu() if isinstance(found, Tensor) else np.asarray(found, float)
        scores = torch.as_tensor(values, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        scores = torch.empty(0)
    if scores.shape != (count,):
        raise UserError(
            f"{function}: must return one number for each of {count} sequences, but returned "
            f"{_described(found)}."
        )
    return scores


def _described(found: Any) -> str:
    if isinstance(found, Tensor | np.ndarray):
        without = isinstance(found, Tensor) and not found.requires_grad
        return f"shape {list(found.shape)}{' without a gradient' if without else ''}"
    if isinstance(found, list | tuple):
        kinds = {type(each).__name__ for each in found}
        return f"{len(found)} of {' and '.join(sorted(kinds)) or 'nothing'}"
    return type(found).__name__


def _require_finite(values: Tensor, what: str, whose: Callable[[int], str] = lambda _: "") -> None:
    """Raise UserError at the first value that is not finite."""
    wrong = (~values.isfinite()).nonzero()
    if len(wrong):
        place = tuple(wrong[0].tolist())
        raise UserError(
            f"{what} {float(values[place].detach()):g}{whose(place[0])}: it must be finite."
        )
