"""The program `didi-text`: each verb is one file; its public function is the Python API."""

from didi_core.commands.program import add_settings_verb, new_program, run
from didi_text.benchmark import benchmark_command
from didi_text.compare import compare_command
from didi_text.download import download_command
from didi_text.evaluate import evaluate_command
from didi_text.generate import generate_command
from didi_text.headroom import headroom_command
from didi_text.info import info_command
from didi_text.merge import merge_command
from didi_text.push import push_command
from didi_text.quickstart import quickstart_command

app = new_program("didi-text", "Distil a slow masked-diffusion language model into a fast writer.")


app.command("quickstart")(quickstart_command)
add_settings_verb(
    app,
    "pretrain",
    "Train a teacher from text: pretrain data=F.jsonl out=DIR (key=value settings).",
    "didi_text.settings:PretrainSettings",
    "didi_text.pretrain:pretrain",
    config_name="text_pretrain",
    groups={"model": "text_model@model"},
)
add_settings_verb(
    app,
    "distill",
    "Distil a teacher into a student: distill teacher=DIR out=DIR (key=value settings).",
    "didi_text.settings:DistillSettings",
    "didi_text.distill:distill",
    config_name="text_distill",
)
app.command("generate")(generate_command)
app.command("headroom")(headroom_command)
app.command("evaluate")(evaluate_command)
app.command("benchmark")(benchmark_command)
app.command("compare")(compare_command)
app.command("download")(download_command)
app.command("merge")(merge_command)
app.command("push")(push_command)
app.command("info")(info_command)


def main() -> None:
    """Entry point of the console script."""
    run(app)
