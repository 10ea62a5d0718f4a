"""`deixis scan`: what of a corpus of images and phrases can be used, before anything is written."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.compat import StringIO

from deixis.core.config import load_params, read_section
from deixis.core.errors import ConfigError, DataError
from deixis.core.yaml_names import refuse_misread_names
from deixis.datasets.pairs.adapter import PairsAdapter, bad_and_all, then_run
from deixis.datasets.pairs.guess import guess_fields, read_names
from deixis.datasets.pairs.settings import BoxConvention, Fields, Format, PairsConfig
from deixis.datasets.pairs.sources import find_sources


def scan(corpus: Path, /, *, boxes: BoxConvention | None = None, params: Path = Path("params.yaml")) -> None:
    """Check every row and image as `prepare` does, write nothing, and print the entry for params.yaml.

    Columns are told by their names, unless params.yaml has an entry for a dataset of the folder's name.

    Args:
        corpus: A folder that holds a table of images and phrases, and `images`; or the table itself.
        boxes: How boxes are written, where there are any; none leaves them out.
        params: Where an entry may be.
    """
    again = f"deixis scan {corpus}"
    if not corpus.exists():
        raise DataError(
            f"{corpus}: no such file or folder. Name a folder or a table (docs/own-data.md), then run: {again}"
        )
    raw = corpus if corpus.is_dir() else corpus.parent
    name = re.sub(r"\W+", "_", raw.resolve().name)
    config = stated(name, params)
    known = config is not None
    config = config or PairsConfig(source="" if corpus.is_dir() else corpus.name)
    if boxes is not None:
        config = replace(config, boxes=boxes)
    with then_run(again):
        kind, paths = find_sources(raw, config)
        names = [] if known else read_names(kind, paths[0])
    if not known:
        config = guessed(config, names, again)
    ingested = PairsAdapter(config).scan(raw=raw, dataset=name, again=again)
    for line in report(ingested, config, kind):
        print(line)
    if not ingested["pairs"]:
        raise DataError(f"{corpus}: no usable pair of image and phrase. Fix it (docs/quarantine.md), then run: {again}")
    named = entry(name, config)
    text = named.split(":")[0]  # in quotes where YAML would read a number or nothing
    print(
        f"To train on it: the folder as data/raw/{name}, {text} under run.datasets, and under datasets in params.yaml:"
    )
    print(f"  {named}")


def stated(name: str, params: Path) -> PairsConfig | None:
    """What params.yaml says of a dataset of that name, where that is one of own pairs."""
    known = load_params(params).get("datasets") if params.exists() else None
    if isinstance(known, dict):
        refuse_misread_names(known, "datasets", params, wanted=name)
    entry = known.get(name) if isinstance(known, dict) else None
    if not isinstance(entry, dict) or entry.get("adapter") != "pairs":
        return None
    return read_section(params, f"datasets.{name}", PairsConfig)


def guessed(config: PairsConfig, names: list[str], again: str) -> PairsConfig:
    """The settings, with the columns that the names tell.

    Raises:
        ConfigError: If there are boxes, and how they are written is not said: that cannot be told from their numbers.
    """
    columns = guess_fields(names)
    if columns.box in names and config.boxes is None:
        raise ConfigError(
            f"the column {columns.box} holds boxes, and how they are written is not said. Allowed: xyxy_abs, xywh_abs, "
            "cxcywh_norm, yxyx_norm, xyxy_norm_1000, or none to leave them out (docs/own-data.md). "
            f"Run: {again} --boxes xywh_abs"
        )
    return replace(config, fields=columns)


def report(ingested: dict[str, Any], config: PairsConfig, kind: Format) -> list[str]:
    """What was read, accepted, refused and noted, line by line."""
    files = ", ".join(f"{file} ({count})" for file, count in ingested["sources"].items())
    splits = ", ".join(f"{count} {split}" for split, count in ingested["splits"].items())
    columns = ", ".join(f"{name} = {column}" for name, column in vars(config.fields).items() if column != name)
    lines = [f"read      {ingested['rows']} rows of {kind}: {files}" + (f"; columns: {columns}" if columns else "")]
    lines.append(f"accepted  {ingested['pairs']} pairs about {ingested['pictures']} images: {splits or 'none'}")
    if ingested["rows_left_out"]:
        lines.append(f"left out  {ingested['rows_left_out']} rows of other splits")
    for code, facts in ingested["codes"].items():
        lines.append(f"{'refused' if code.startswith('E_') else 'noted':9} {facts['count']} {code}, such as")
        lines += [f"            {example}" for example in facts["examples"]]
    bad, of = bad_and_all(ingested)
    if bad > config.max_quarantined * of:
        lines.append(
            f"too many  {bad} of {of} rows and images are bad, and prepare ends above a share of "
            f"{config.max_quarantined:g}. Fix them (docs/quarantine.md), or raise max_quarantined"
        )
    return lines


def entry(name: str, config: PairsConfig) -> str:
    """A dataset's name and the settings that are not the default, as params.yaml takes them on one line."""
    usual = PairsConfig()
    stated = {name: value for name, value in vars(config).items() if value != getattr(usual, name)}
    if config.fields != Fields():
        stated["fields"] = {name: column for name, column in vars(config.fields).items() if column != name}
    yaml, text = YAML(typ="safe", pure=True), StringIO()
    yaml.default_flow_style, yaml.width = True, 10_000
    yaml.dump({name: {"adapter": "pairs"} | stated}, text)
    return text.getvalue().strip()[1:-1]
