"""Train one expert on the detection split, with the objective of its namesake.

reads   the pretraining folder (captions only where the objective asks for them); params: seed, experts.<name>
writes  model.safetensors, config.json, training_images.parquet; contrastive experts also matcher/, their text tower
run     dvc repro pretrain_expert@contrastive_vit
"""

from pathlib import Path

from deixis.core.checkpoints import save_checkpoint
from deixis.core.cli import run_stage
from deixis.core.config import read_section
from deixis.core.registry import resolve
from deixis.core.runtime import Device
from deixis.training.fit import Recipe
from models.experts import EXPERTS
from models.experts.contrastive_objective import ContrastiveObjective
from training.pretraining import open_pretraining


def pretrain_expert(
    *, expert: str, pretraining: Path, out: Path, params: Path = Path("params.yaml"), device: Device = "auto"
) -> None:
    """Train one expert on the detection split."""
    kind = resolve(EXPERTS, expert, role="expert")
    config = read_section(params, f"experts.{expert}.model", kind.Config)
    recipe = read_section(params, f"experts.{expert}.recipe", Recipe)
    side = read_section(params, "detector.model.input_size", int)
    run = open_pretraining("pretrain_expert", pretraining, side=side, params=params, device=device)
    model = kind(config)
    objective = model.objective(run.data.captions).to(run.device)
    facts = run.train(
        objective,
        lambda batch: objective.loss(*batch),
        lambda rows, _, generator: (run.data.squares(rows).to(run.device), rows.to(run.device), generator),
        recipe=recipe,
        inputs=(expert, config),
    )
    run.save(model, out, config=config, labels=kind.labels, facts={"training": facts})
    if isinstance(objective, ContrastiveObjective):  # with its text tower the expert is an image-text model
        captions = objective.captions
        save_checkpoint(
            captions.matcher, out / "matcher", config={"width": model.width, "vocabulary": captions.vocabulary}
        )


if __name__ == "__main__":
    run_stage(pretrain_expert)
