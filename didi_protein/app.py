"""The program `didi-protein`: each verb is one file; its public function is the Python API."""

from didi_core.commands.program import add_settings_verb, new_program, run
from didi_protein.compare import compare_command
from didi_protein.download import download_command
from didi_protein.filter import filter_command
from didi_protein.generate import generate_command
from didi_protein.headroom import headroom_command
from didi_protein.info import info_command
from didi_protein.merge import merge_command
from didi_protein.order import order_command
from didi_protein.push import push_command
from didi_protein.quickstart import quickstart_command
from didi_protein.report import report_command
from didi_protein.scan import scan_command
from didi_protein.score import score_command

app = new_program(
    "didi-protein",
    "Distil a slow masked-diffusion protein language model into a fast designer.",
)


app.command("quickstart")(quickstart_command)
add_settings_verb(
    app,
    "pretrain",
    "Train a teacher from sequences: pretrain data=F.fasta out=DIR (key=value settings).",
    "didi_protein.settings:PretrainSettings",
    "didi_protein.pretrain:pretrain",
    groups={"recipe": "protein_recipe"},
)
add_settings_verb(
    app,
    "distill",
    "Distil a teacher into a student: distill teacher=tiny out=DIR (key=value settings).",
    "didi_protein.settings:DistillSettings",
    "didi_protein.distill:distill",
)
app.command("generate")(generate_command)
app.command("headroom")(headroom_command)
app.command("scan")(scan_command)
app.command("score")(score_command)
app.command("filter")(filter_command)
app.command("compare")(compare_command)
app.command("report")(report_command)
app.command("order")(order_command)
app.command("download")(download_command)
app.command("merge")(merge_command)
app.command("push")(push_command)
app.command("info")(info_command)


def main() -> None:
    """Entry point of the console script."""
    run(app)
