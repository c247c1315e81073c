"""What can be wrong with the settings of `pretrain`, found before anything is loaded."""

from didi_core.commands.training.run_folder import run_problems
from didi_core.commands.training.settings import PretrainSettings
from didi_core.diffusion.process import DEFAULT_PROCESS, IN_WORDS, PROCESSES
from didi_core.number_checks import decay_errors, negative_errors, positive_int_errors, seed_errors


def pretrain_problems(settings: PretrainSettings) -> list[str]:
    """Return every complaint, each with the setting's name; a program adds its own."""
    wrong = positive_int_errors(settings, "steps", "tokens_per_batch", "devices", "log_every")
    wrong += positive_int_errors(settings, "checkpoints_kept")
    wrong += negative_errors(settings, "max_seconds", "patience") + seed_errors(
        settings.seed, "seed="
    )
    if settings.patience and not settings.valid:
        wrong.append(f"patience={settings.patience} needs held-out sequences: give valid=")
    wrong += _kind_problems(settings) + _curriculum_problems(settings)
    wrong += decay_errors(settings, "ema", "input_noise")
    if settings.input_noise and settings.model.kind == "masked":
        wrong.append(f"input_noise={settings.input_noise} is for model.kind=autoregressive")
    for group in ("model", "curriculum", "gaussian", "optimizer"):
        wrong += [f"{group}.{each}" for each in getattr(settings, group).problems()]
    return wrong + run_problems(settings)


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
                f"{name}.steps={first} leaves none of steps={settings.steps} for the bound "
                f"itself, which comes after them: give more steps, or {name}.steps="
                f"{settings.steps // 2}"
            )
    if settings.curriculum.steps > 0 and settings.model.kind == "autoregressive":
        wrong.append(f"curriculum.steps={settings.curriculum.steps} is for model.kind=masked")
    return wrong
