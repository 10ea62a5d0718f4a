"""The stage `write_pseudo_labels`, whose parts are small enough that a set of a few hundred pairs has several."""

import stages.write_pseudo_labels as stage
from deixis.core.cli import run_stage

stage.PAIRS_PER_PART = 64

if __name__ == "__main__":
    run_stage(stage.write_pseudo_labels)
