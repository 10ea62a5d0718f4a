"""`deixis label`: a trained teacher over new pairs. No truth is read, and there need be none."""

import shutil
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import pyarrow.parquet as pq
from cyclopts import Parameter

from answering.photographs import default_model
from answering.predictor import Predictor
from commands.chunks import ROWS_PER_CHUNK, chunks, count_chunks, join_chunks, write_chunk
from commands.label_chunk import label_chunk
from commands.pair_source import PairSource, prepare_pairs
from deixis.batches.samples import PAIR_COLUMNS
from deixis.core.checkpoints import run_key
from deixis.core.errors import ConfigError, DataError
from deixis.core.pieces import end_of_share, is_mine
from deixis.core.progress import quietly, say, track
from deixis.core.records import read_json, write_json
from deixis.core.runtime import Device


def label(
    *,
    pairs: Path,
    out: Path,
    model: Path | None = None,
    images: Path | None = None,
    weights: Path | None = None,
    any_domain: Annotated[bool, Parameter(negative="")] = False,
    device: Annotated[Device, Parameter(help="auto takes a GPU where there is one.")] = "auto",
) -> None:
    """Label pairs of images and phrases with a trained teacher: boxes, masks, and how sure it is.

    Writes labels.parquet, quarantine.parquet (what was refused, and why) and summary.json. Killed at any moment, the
    same command goes on where it stopped and ends with the same bytes.

    Args:
        pairs: A prepared folder (pairs.parquet, images.parquet), or a table of images and phrases.
        out: Folder for the labels.
        model: The teacher's checkpoint; by default the model for photographs, where its published weights are in place,
            else the reference teacher of `dvc repro`.
        images: Folder of the images; by default `images` beside the pairs, or data/raw/<dataset>/images.
        weights: Folder of the frozen models; by default those of the model's own data folder.
        any_domain: Accept labels of images unlike those that the frozen models were trained on, too.
    """
    model = model or default_model()
    predictor = Predictor(model, weights=weights, device=device)
    if not predictor.is_teacher:
        raise ConfigError(
            f"{model}: a student; labels are a teacher's. Allowed: a folder of data/teachers or data/map_teachers. "
            "Name one with --model, or ask the student with: deixis predict"
        )
    source = prepare_pairs(pairs, out / "prepared", images)
    facts = {"model": str(model), "image_root": str(source.image_root.absolute())}
    key = run_key(
        *predictor.inputs, predictor.device.type, any_domain, ROWS_PER_CHUNK, source.pairs, source.images,
        entries=("commands.label", predictor.module), threads=False,
    )  # fmt: skip
    scratch = out / f".chunks-{key}"
    for old in set(out.glob(".chunks-*")) - {scratch}:
        shutil.rmtree(old)  # of other pairs or another model
    if not _is_done(out, key):
        answer_chunks(predictor, source, scratch, any_domain=any_domain)
        end_of_share()
        finish(scratch, out, source, facts={"key": key} | facts)
    shutil.rmtree(scratch, ignore_errors=True)
    say(told(out, source))


def told(out: Path, source: PairSource) -> str:
    """What was labelled and what was refused, in one line."""
    summary = read_json(out / "summary.json", made_by="deixis label")
    refused = ", ".join(f"{count} {code}" for code, count in summary["refused"].items())
    noted = " and ".join(str(path) for path in (source.quarantine, out / "quarantine.parquet") if path)
    return f"{out}/labels.parquet: {summary['labels']} labels, {summary['accepted']} of them accepted; " + (
        f"refused and listed in {noted}: {refused}" if refused else "nothing was refused"
    )


def answer_chunks(predictor: Predictor, source: PairSource, scratch: Path, *, any_domain: bool = False) -> None:
    """Label all chunks that are not there yet."""
    total = count_chunks(source.pairs)
    for number, rows in enumerate(track(chunks(source.pairs, PAIR_COLUMNS), "labelling", total=total)):
        refused_path = scratch / f"{number:06d}.quarantine.parquet"
        if not is_mine(number) or refused_path.exists():
            continue
        with quietly():
            labels, refused = label_chunk(predictor, rows, source, any_domain=any_domain)
        if labels is not None:
            write_chunk(labels, scratch / f"{number:06d}.labels.parquet")
        write_chunk(refused, refused_path)  # last: it says that the chunk is whole


def finish(scratch: Path, out: Path, source: PairSource, *, facts: dict[str, Any]) -> None:
    """Join the chunks, and write the summary last: it says that the labels are whole.

    Raises:
        DataError: If no pair could be labelled.
    """
    labels = sorted(scratch.glob("*.labels.parquet"))
    refused = sorted(scratch.glob("*.quarantine.parquet"))
    codes: Counter[str] = Counter()
    for path in [*([source.quarantine] if source.quarantine else []), *refused]:
        codes_of_chunk = pq.read_table(path, columns=["code"])["code"].to_pylist()
        codes.update(code for code in codes_of_chunk if code.startswith("E_"))  # those with W_ only note something
    if refused:
        join_chunks(refused, out / "quarantine.parquet")
    if not labels:
        listed = ", ".join(f"{count} {code}" for code, count in sorted(codes.items())) or "there are none"
        raise DataError(
            f"{source.pairs}: no pair could be labelled ({listed}). Allowed: at least one whose image opens and "
            f"whose phrase has a word. All are listed in {out}/quarantine.parquet. Fix them and run it again"
        )
    accepted = sum(sum(pq.read_table(path, columns=["accept"])["accept"].to_pylist()) for path in labels)
    count = join_chunks(labels, out / "labels.parquet")
    write_json(
        facts | {"labels": count, "accepted": accepted, "refused": dict(sorted(codes.items()))}, out / "summary.json"
    )


def _is_done(out: Path, key: str) -> bool:
    """Whether the folder holds the labels of this very run."""
    if not ((out / "summary.json").exists() and (out / "labels.parquet").exists()):
        return False
    return read_json(out / "summary.json", made_by="deixis label")["key"] == key
