"""Adapters from foreign formats to our tables: kind -> reader, loaded when asked for."""

DATASETS = {
    "pairs": "deixis.datasets.pairs:PairsAdapter",
    "refer": "deixis.datasets.refer:read_refer_folder",
}
