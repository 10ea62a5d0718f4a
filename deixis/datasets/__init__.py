"""Adapters from foreign formats to our tables: name -> class, loaded when asked for.

An adapter has a `Config` (with `adapter` and `max_quarantined`), takes one, and writes the tables of
`deixis/datasets/tables.py`: `ingest(raw=..., out=..., dataset=...)`.
"""

DATASETS = {
    "jxu124": "deixis.datasets.jxu124:Jxu124Adapter",
    "mdetr": "deixis.datasets.mdetr:MDETRAdapter",
    "refer": "deixis.datasets.refer:ReferAdapter",
    "simrec": "deixis.datasets.simrec:SimRECAdapter",
}
