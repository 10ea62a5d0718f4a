"""Train one teacher of response maps on pictures and phrases. No box or mask of any object is read.

reads   pairs.parquet, images.parquet, the images, the folder of frozen models; params: seed, map_teachers.<teacher>
writes  model.safetensors, config.json; the curve of every loss term
run     dvc repro train_map_teacher@scenes_plus-tris, with tris under run.map_teachers in params.yaml
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from deixis.batches.map_data import MapReader, count_fallbacks, read_needed_cues, refuse_other_squares
from deixis.batches.order import count_batches, image_batches
from deixis.batches.samples import grouped_pairs, refuse_ungrouped
from deixis.core.checkpoints import run_key, save_checkpoint
from deixis.core.cli import run_stage
from deixis.core.config import read_section
from deixis.core.errors import ConfigError, DataError
from deixis.core.records import read_table
from deixis.core.registry import resolve
from deixis.core.runtime import Device, pick_device, seed_everything
from deixis.roles import MapTeacher
from deixis.training.fit import Recipe, fit
from models.loading.starts import read_vocabulary
from models.map_teachers import MAP_TEACHERS


def train_map_teacher(
    *,
    teacher: str,
    pairs: Path,
    images: Path,
    image_root: Path,
    weights: Path,
    out: Path,
    curves: Path,
    cues: Path | None = None,
    proposals: Path | None = None,
    params: Path = Path("params.yaml"),
    device: Device = "auto",
) -> None:
    """Train one teacher of response maps on image-phrase pairs that are grouped by object."""
    kind = resolve(MAP_TEACHERS, teacher, role="map_teacher")
    config = read_section(params, f"map_teachers.{teacher}.model", kind.Config)
    recipe = read_section(params, f"map_teachers.{teacher}.recipe", Recipe)
    seed = read_section(params, "seed", int)
    seed_everything(seed)
    hardware = pick_device(device)
    table = grouped_pairs(pairs)
    train = table[table["split"] == "train"].reset_index(drop=True)
    images_per_batch = max(1, recipe.batch_size // config.objects_per_image)
    steps = count_batches(
        train["image_id"].nunique(),
        images_per_batch,
        of="training images",
        setting=f"map_teachers.{teacher}.recipe.batch_size",
        found_in=pairs,
    )
    vocabulary = read_vocabulary(config.towers.text, weights, train["text"])
    model = kind(config, vocabulary).to(hardware)
    if model.needs_groups:
        setting, without = model.needs_groups
        refuse_lone_objects(config.objects_per_image, teacher, setting, without)
        refuse_ungrouped(train, found_in=pairs, setting=f"map_teachers.{teacher}.model.{setting}", without=without)
    model.start_from(weights, hardware)
    pictures = read_table(images, columns=("image_id", "path", "width", "height"), made_by="prepare")
    phrase_cues = read_needed_cues(model, cues, train["text"])
    weighed = needed_proposals(model, proposals)
    if weighed:
        refuse_other_squares(weighed, stretch=model.reading.stretch)
    reader = MapReader(
        train,
        pictures,
        image_root=image_root,
        reading=model.reading,
        device=hardware,
        cues=phrase_cues,
        proposals=weighed,
    )
    order = image_batches(
        train["image_id"].tolist(),
        train["group"].tolist(),
        images=images_per_batch,
        phrases_per_object=1,
        objects_per_image=config.objects_per_image,
        seed=seed,
    )
    inputs = [weights / name / "model.safetensors" for name in model.starts]
    inputs += [cues] if cues and phrase_cues else []
    inputs += [weighed / "meta.json"] if weighed else []
    facts = fit(
        model,
        model.loss,
        lambda epoch: (reader.batch(rows, epoch=epoch) for rows in order(epoch)),
        steps_per_epoch=steps,
        recipe=recipe,
        device=hardware,
        scratch=Path("scratch/train_map_teacher") / run_key(teacher, config, recipe, seed, pairs, images, *inputs),
        curves=curves,
        weights=model.term_weights,
        groups=model.parameter_groups(),
    )
    card = {"map_teacher": teacher, "model": asdict(config), "vocabulary": vocabulary, "training": facts}
    about: dict[str, Any] = {
        "supervision": "image-phrase pairs, grouped by object",
        "selection": "last epoch, averaged weights",
        "seed": seed,
    }
    if cues and phrase_cues:
        about["cue_fallbacks"] = count_fallbacks(cues)
    if weighed:
        about["images_without_proposals"] = reader.images_without_proposals()
    save_checkpoint(model, out, config=card | about)


def refuse_lone_objects(objects_per_image: int, teacher: str, setting: str, without: str) -> None:
    """Stop where a loss compares phrases about different objects of a picture, and a batch has one of each picture.

    Raises:
        ConfigError: If so; else the loss would be zero without a word.
    """
    if objects_per_image == 1:
        name = f"map_teachers.{teacher}.model"
        raise ConfigError(
            f"{name}.objects_per_image is 1, so that no batch holds two objects of a picture, which {name}.{setting} "
            f"compares. Allowed: 2 or more, or {name}.{setting}: {without}. Mend params.yaml, then run: dvc repro"
        )


def needed_proposals(model: MapTeacher, proposals: Path | None) -> Path | None:
    """The folder of proposals for teachers that weigh them, None for others.

    Raises:
        DataError: If they are needed and no folder is named.
    """
    if not model.needs_proposals:
        return None
    if proposals is None:
        raise DataError(
            "this teacher weighs mask proposals, and no folder of them was named (--proposals). "
            "Put it under run.proposal_teachers in params.yaml, then run: dvc repro"
        )
    return proposals


if __name__ == "__main__":
    run_stage(train_map_teacher)
