"""How frozen models are made from the detection split: what the stages `pretrain_*` share."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from deixis.batches.order import epoch_generator, shuffled_rows
from deixis.core.checkpoints import run_key, save_checkpoint
from deixis.core.config import read_section
from deixis.core.records import write_table
from deixis.core.runtime import pick_device, seed_everything
from deixis.datasets.pretraining import PretrainingSet
from deixis.training.fit import Recipe, fit
from training.epochs import refuse_other_epochs

# Places of some images in the split, the number of the epoch, its random numbers -> one batch for the loss
MakeBatch = Callable[[Int[Tensor, " images"], int, torch.Generator], Any]


@dataclass(frozen=True)
class Pretraining:
    """One run over the detection split.

    Attributes:
        stage: Its name, by which its scratch folder is found.
        seed: Of weights and batches.
    """

    stage: str
    folder: Path
    data: PretrainingSet
    seed: int
    device: torch.device

    def train(
        self,
        model: nn.Module,
        loss: Callable[[Any], dict[str, Tensor]],
        make_batch: MakeBatch,
        *,
        recipe: Recipe,
        inputs: tuple[Any, ...],
        weights: dict[str, float] | None = None,
    ) -> dict[str, float | int]:
        """Train `model` in place on whole batches of images; returns facts for its card.

        Args:
            inputs: What else decides the result: settings, and paths of files.
            weights: Factor of each term of the loss; 1 where absent.
        """
        refuse_other_epochs(recipe, self.stage)
        count = len(self.data.image_ids)

        def batches(epoch: int) -> Iterator[Any]:
            generator = epoch_generator(self.seed, epoch)
            for rows in shuffled_rows(count, recipe.batch_size, generator):
                yield make_batch(rows, epoch, generator)

        key = run_key(self.seed, recipe, self.folder / "instances.json", *inputs)
        return fit(
            model,
            loss,
            batches,
            steps_per_epoch=count // recipe.batch_size,
            recipe=recipe,
            device=self.device,
            scratch=Path("scratch") / self.stage / key,
            weights=weights,
        )

    def save(self, model: nn.Module, out: Path, *, config: Any, labels: str, facts: Mapping[str, Any]) -> None:
        """Write a checkpoint, and which images its model has seen.

        Args:
            config: The model's, a dataclass.
            labels: What taught it: box, mask, caption or none.
            facts: Of the training; beside them what else belongs in the card.
        """
        save_checkpoint(model, out, config={"model": asdict(config), "labels": labels, **facts})
        write_table(pd.DataFrame({"image_id": self.data.image_ids}), out / "training_images.parquet")


def open_pretraining(stage: str, folder: Path, *, side: int, params: Path, device: str) -> Pretraining:
    """The detection split, letterboxed to squares of `side` pixels; seeds everything."""
    seed = read_section(params, "seed", int)
    seed_everything(seed)
    return Pretraining(stage, folder, PretrainingSet(folder, side=side), seed, pick_device(device))


def mirror_half(
    boxes_xyxy: Float[Tensor, "images objects 4"], *squares: Tensor, generator: torch.Generator
) -> list[Tensor]:
    """Swap left and right of half of all batches.

    Args:
        boxes_xyxy: In pixels of the first of `squares`; not changed in place.
        squares: [images, channels, side, side]; each may have a side of its own.

    Returns:
        Boxes, then squares.
    """
    if torch.rand((), generator=generator) >= 0.5:
        return [boxes_xyxy, *squares]
    boxes = boxes_xyxy.clone()
    boxes[..., [0, 2]] = squares[0].shape[-1] - boxes[..., [2, 0]]
    return [boxes, *(square.flip(3) for square in squares)]
