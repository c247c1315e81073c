"""What can be wrong with the settings of `pretrain`, found before anything is loaded."""

from didi_core.commands.pretrain_settings import PretrainSettings
from didi_core.commands.training_run import sharing_problems
from didi_core.diffusion.process import DEFAULT_PROCESS, IN_WORDS, PROCESSES
from didi_core.number_checks import below_one, below_zero, no_decay, no_seed


def pretrain_problems(settings: PretrainSettings) -> list[str]:
    """Every complaint, each with the setting's name; a program adds its own."""
    wrong = below_one(settings, "steps", "tokens_per_batch", "devices", "log_every")
    wrong += below_one(settings, "checkpoints_kept")
    wrong += below_zero(settings, "max_seconds") + no_seed(settings.seed, "seed=")
    wrong += _kind_problems(settings) + _curriculum_problems(settings)
    wrong += no_decay(settings, "ema", "input_noise")
    if settings.input_noise and settings.model.kind == "masked":
        wrong.append(f"input_noise={settings.input_noise} is for model.kind=autoregressive")
    for group in ("model", "curriculum", "gaussian", "optimizer"):
        wrong += [f"{group}.{each}" for each in getattr(settings, group).problems()]
    return wrong + sharing_problems(settings)


def _kind_problems(settings: PretrainSettings) -> list[str]:
    kind, process = settings.model.kind, settings.process
    wrong = []
    if kind not in ("masked", "autoregressive"):
        wrong.append(f"model.kind={kind} must be masked or autoregressive")
    if process not in PROCESSES:
        known = ", ".join(f"{name} ({IN_WORDS[name]})" for name in PROCESSES)
        wrong.append(f"process={process} must be one of {known}")
    elif process != DEFAULT_PROCESS and kind != "masked":
        wrong.append(
            f"process={process} is for diffusion models, and model.kind is {kind}, as of "
            "model=judge: take another model=, or leave process= out"
        )
    return wrong


def _curriculum_problems(settings: PretrainSettings) -> list[str]:
    wrong = []
    if settings.gaussian.steps > 0 and settings.process != "uniform":
        wrong.append(f"gaussian.steps={settings.gaussian.steps} is for process=uniform")
    if settings.gaussian.steps > 0 and settings.curriculum.steps > 0:
        wrong.append("gaussian.steps and curriculum.steps exclude each other")
    for name in ("curriculum", "gaussian"):
        if (first := getattr(settings, name).steps) >= settings.steps > 0:
            wrong.append(
                f"{name}.steps={first} leaves none of steps={settings.steps} for the bound itself"
            )
    if settings.curriculum.steps > 0 and settings.model.kind == "autoregressive":
        wrong.append(f"curriculum.steps={settings.curriculum.steps} is for model.kind=masked")
    return wrong
