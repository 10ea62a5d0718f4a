"""Split every phrase into short cues about its target, for teachers that read them.

reads   pairs.parquet; params: cues, datasets.<dataset>; for `openai` the environment, see deixis/cues/endpoint.py
writes  cues.jsonl (one line per distinct text), statistics.json
run     dvc repro write_cues@scenes_plus, with scenes_plus under run.proposals in params.yaml
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from deixis.core.checkpoints import run_key
from deixis.core.cli import run_stage
from deixis.core.config import STRICT, read_section
from deixis.core.progress import say
from deixis.core.records import read_table, write_atomically, write_json
from deixis.core.registry import resolve
from deixis.cues import CUE_SOURCES
from deixis.cues.answers import Phrase
from deixis.cues.asking import ask_all
from deixis.cues.prompt import PROMPT

PLENTY = 3  # as many as PCNet reads, one per stage


@dataclass(frozen=True, config=STRICT)
class CueParams:
    """The `cues` section."""

    source: str = "rule"  # a name of deixis/cues
    settings: dict[str, Any] = field(default_factory=dict)  # of that source


@dataclass(frozen=True, config=ConfigDict(extra="ignore"))
class SplitParams:
    """What of an entry of `datasets` names a collection of phrases; `prepare` checks the others."""

    split_by: str = "unc"


def write_cues(*, dataset: str, pairs: Path, out: Path, params: Path = Path("params.yaml")) -> None:
    """Ask the source about every distinct text, and say how often the rule had to stand in."""
    config = read_section(params, "cues", CueParams)
    splits = read_section(params, f"datasets.{dataset}", SplitParams)
    kind = resolve(CUE_SOURCES, config.source, role="cue source")
    settings = read_section(params, "cues.settings", kind.Config)
    source = kind(settings)
    phrases = distinct_phrases(
        read_table(pairs, columns=("expression", "text", "ref_id", "sent_id"), made_by="prepare")
    )
    key = run_key(dataset, splits, config.source, settings, pairs, *source.inputs)
    scratch = Path("scratch/write_cues") / f"{key}.jsonl"
    lines = ask_all(phrases, source, scratch=scratch, belongs_to={"dataset": dataset, "split_by": splits.split_by})
    statistics = summarise([json.loads(line) for line in lines])
    write_json(statistics, out / "statistics.json")
    write_atomically(out / "cues.jsonl", lambda path: path.write_text("".join(lines), encoding="utf-8"))
    scratch.unlink()
    reasons = ", ".join(f"{count} {error}" for error, count in statistics["errors"].items())
    say(
        f"cues of {len(phrases)} texts by {config.source}; the rule stood in for {statistics['fallbacks']}"
        + (f" ({reasons})" if reasons else "")
    )


def distinct_phrases(pairs: pd.DataFrame) -> list[Phrase]:
    """Each text once, in order of appearance; `ref_id` may have gaps, where a set groups no phrases."""
    pairs_of: dict[str, list[tuple[Any, Any, str]]] = {}
    refs = pairs["ref_id"].convert_dtypes().astype(object)  # gaps made its numbers floats
    refs = refs.where(refs.notna(), None)
    rows = zip(pairs["text"], refs, pairs["sent_id"].tolist(), pairs["expression"], strict=True)
    for text, ref_id, sent_id, expression in rows:
        pairs_of.setdefault(text, []).append((ref_id, sent_id, expression))
    return [Phrase(text, of[0][0], tuple(sent_id for _, sent_id, _ in of), of[0][2]) for text, of in pairs_of.items()]


def summarise(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """How many cues there are, how often and why the rule stood in, who answered, and which prompt was current."""
    counts = np.array([len(record["cues"]) for record in records])
    fallbacks = sum(record["fallback"] for record in records)
    errors = Counter(record["error"] for record in records if record["error"])
    return {
        "texts": len(records),
        "mean_cues": float(counts.mean()) if len(records) else 0.0,
        "share_below_three": float((counts < PLENTY).mean()) if len(records) else 0.0,
        "fallbacks": fallbacks,
        "fallback_rate": fallbacks / len(records) if records else 0.0,
        "errors": dict(sorted(errors.items())),
        "sources": dict(sorted(Counter(record["source"] for record in records).items())),
        "prompt_sha1": PROMPT.hashes(),
    }


if __name__ == "__main__":
    run_stage(write_cues)
