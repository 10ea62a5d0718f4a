"""`deixis`: the practitioner's commands. Each is imported only when it is asked for."""

import gc
import importlib
import sys
from importlib import metadata

from cyclopts import App

from deixis.core.cli import go_to_cluster, run_app

app = App(
    name="deixis",
    help="Boxes, masks and trained models from images and phrases. `dvc repro` trains; these use what it made.",
    version=lambda: metadata.version("deixis"),
    version_flags=["--version"],
    help_format="plaintext",  # others take <dataset> for markup, and leave it out
)
COMMANDS = {  # name -> where it is, and what it does
    "predict": ("commands.predict:predict", "Answer phrases about one image."),
    "scan": ("commands.scan:scan", "Say what of your images and phrases can be used."),
    "label": ("commands.label:label", "Label pairs of images and phrases with a trained teacher."),
    "serve": ("commands.serve:serve", "Serve a page to try phrases and to correct labels."),
    "export": ("commands.export:export", "Write labels for labelling tools and trainers."),
    "export-model": (
        "commands.export_model:export_model",
        "Write a student as an ONNX graph or for a model hub.",
    ),
    "take-decisions": ("commands.take_decisions:take_decisions", "Take back labels that another tool corrected."),
    "compare": ("commands.compare:compare", "Say what a commit did to the results, with intervals."),
    "copy-photos": ("commands.copy_photos:copy_photos", "Copy photographs to where the graph reads them."),
    "weights": ("commands.weights:app", "List, find, check and fetch published weights."),
    "doctor": ("commands.doctor:doctor", "Say what works here, and fix what does not."),
}
for name, (target, about) in COMMANDS.items():
    app.command(target, name=name, help=about)


def main() -> None:
    """Run the command line."""
    if sys.argv[1:2] == ["label"]:
        go_to_cluster("deixis")
    gc.disable()  # as stages/__init__.py: a tenth of the time that `predict` takes; `run_app` switches it on again
    for name in sys.argv[1:2]:
        if name in COMMANDS:
            importlib.import_module(COMMANDS[name][0].partition(":")[0])
    run_app(app)
