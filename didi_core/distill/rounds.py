"""Methods that go in rounds of equal length, each with the last one's student as its teacher.

That student is the network as trained, or the average of its weights.
"""

import copy
from typing import Any, Protocol, runtime_checkable

from lightning.fabric import Fabric
from torch import nn

from didi_core.data.vocabulary import Vocabulary
from didi_core.distill.method import Network
from didi_core.distill.reference import GroupedReference
from didi_core.distill.student import DistilledStudent, StudentSettings
from didi_core.distill.updates import place_frozen
from didi_core.models.sharding import gathered, spread_state
from didi_core.number_checks import positive_int_errors

TEACHER_UPDATES = ("student", "average")
DIVERGENCES = ("forward", "backward", "jeffreys")


@runtime_checkable
class RoundSettings(StudentSettings, Protocol):
    """What the settings of such a method hold."""

    rounds: int
    teacher_update: str
    kl_kind: str


def round_problems(settings: RoundSettings) -> list[str]:
    """Return what is wrong with the settings that these methods share, each with its name."""
    wrong = positive_int_errors(settings, "rounds")
    for name, allowed in (("teacher_update", TEACHER_UPDATES), ("kl_kind", DIVERGENCES)):
        if (value := getattr(settings, name)) not in allowed:
            wrong.append(f"{name}={value} must be {', '.join(allowed[:-1])} or {allowed[-1]}")
    return wrong


class StudentInRounds(DistilledStudent):
    """Owns the target, the teacher of the present round, beside student and teacher."""

    settings: RoundSettings

    def __init__(
        self,
        teacher: nn.Module,
        vocabulary: Vocabulary,
        reference: GroupedReference,
        settings: RoundSettings,
        seed: int,
    ) -> None:
        super().__init__(teacher, vocabulary, reference, settings, seed)
        # In the layout of the student: a later round's teacher has its noise input.
        self.target = copy.deepcopy(self.ema.module)
        self.round = 0

    def networks(self) -> list[Network]:
        return [*super().networks(), Network("target", self.target)]

    def setup(self, fabric: Fabric) -> None:
        super().setup(fabric)
        place_frozen(self.target, fabric)

    def enter_round(self, step: int, steps: int) -> None:
        """Replace the teacher if `step` of `steps` begins a round, the first one apart."""
        number = step * self.settings.rounds // steps
        if number > self.round:
            student = self.student if self.settings.teacher_update == "student" else self.ema
            self.target.load_state_dict(student.module.state_dict())
            self.round = number

    def state_dict(self) -> dict[str, Any]:
        own = {"target": gathered(self.target.state_dict()), "round": self.round}
        return {**super().state_dict(), **own}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.target.load_state_dict(spread_state(state["target"], self.target))
        self.round = int(state["round"])
