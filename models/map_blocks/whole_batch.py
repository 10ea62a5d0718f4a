"""The batch of all processes that train together, for losses that compare phrases and images of the whole of it."""

from dataclasses import replace

from deixis.training.ranks import gathered, gathered_numbers
from deixis.types import MapBatch


def whole_batch(batch: MapBatch) -> MapBatch:
    """Images and phrases of every process, one process after the other; in one process the batch itself."""
    squares, tokens, group_of, cues, proposals = gathered(
        (batch.squares, batch.tokens, batch.group_of, batch.cues, batch.proposals)
    )
    image_of = gathered_numbers(batch.image_of, len(batch.squares))
    return replace(
        batch, squares=squares, tokens=tokens, image_of=image_of, group_of=group_of, cues=cues, proposals=proposals
    )
