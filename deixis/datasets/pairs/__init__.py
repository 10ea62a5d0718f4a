"""Own images and phrases, in whatever form people keep them: see docs/own-data.md."""

from deixis.datasets.pairs.adapter import PairsAdapter

__all__ = ["PairsAdapter"]
