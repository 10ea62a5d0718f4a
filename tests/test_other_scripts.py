"""Phrases in other scripts than the Latin one go through the normal flow, and not a letter of them is lost."""

import io
import json
import shutil
import xml.etree.ElementTree as ET
from dataclasses import asdict
from pathlib import Path

import jinja2
import pandas as pd
import pyarrow.parquet as pq
import pytest

from commands.export import export
from commands.label import label
from deixis.core.checkpoints import save_checkpoint
from deixis.core.cli import spell_out_unknown
from deixis.core.run_lists import RunParams
from deixis.datasets.pairs.adapter import PairsAdapter
from deixis.datasets.pairs.settings import PairsConfig
from deixis.exports import TARGETS
from deixis.language.text import build_vocabulary
from models.teachers.refclip import RefCLIP, RefCLIPConfig
from stages.build_report import TEMPLATE, gallery
from stages.write_cues import write_cues
from tests.small_world import PARAMS, TEXT

PHRASES = {
    "Chinese": "左边的人，红色的球",
    "Arabic": "الكرة الحمراء على اليسار",
    "Cyrillic": "красный мяч слева",
    "Japanese": "左側の赤い・ボール",
    "Hindi": "बाईं ओर लाल गेंद",
    "accents": "the cafe\u0301 s\u030cedy\u0301",
    "emoji": "the 😀 ball ❤️ 👨‍👩‍👧",
}


@pytest.fixture(scope="module")
def flow(world, tmp_path_factory) -> Path:
    """A folder with a prepared corpus of these phrases, and a teacher whose vocabulary was built from them."""
    folder = tmp_path_factory.mktemp("scripts")
    raw, prepared = folder / "data/raw/own", folder / "data/prepared/own"
    shutil.copytree(world / "data/raw/toy/images", raw / "images")
    rows = [f"{number % 6}.png,{phrase}\n" for number, phrase in enumerate(PHRASES.values())]
    (raw / "pairs.csv").write_text("image,text\n" + "".join(rows), encoding="utf-8")
    PairsAdapter(PairsConfig(boxes="none")).ingest(raw=raw, out=prepared, dataset="own")
    vocabulary = build_vocabulary(pd.read_parquet(prepared / "pairs.parquet")["text"])
    config = RefCLIPConfig(detector_channels=(24, 16, 8), fused_width=16, joint_width=8, keep_fraction=0.2, text=TEXT)
    card = {"teacher": "refclip", "model": asdict(config), "vocabulary": vocabulary}
    save_checkpoint(RefCLIP(config, vocabulary), folder / "data/teachers/own/refclip", config=card)
    (folder / "data/weights").symlink_to(world / "data/weights")
    return folder


@pytest.fixture(scope="module")
def labels(flow) -> Path:
    label(pairs=flow / "data/prepared/own", out=flow / "labels", model=flow / "data/teachers/own/refclip")
    return flow / "labels/labels.parquet"


def test_preparing_keeps_them_as_they_were_written(flow):
    pairs = pd.read_parquet(flow / "data/prepared/own/pairs.parquet")
    assert sorted(pairs["expression"]) == sorted(PHRASES.values())
    assert pairs["text"].map(bool).all()


def test_every_phrase_has_cues(flow, monkeypatch):
    monkeypatch.chdir(flow)
    (flow / "params.yaml").write_text(PARAMS.replace("toy: {adapter: refer}", "own: {adapter: pairs}"))
    write_cues(dataset="own", pairs=flow / "data/prepared/own/pairs.parquet", out=flow / "cues")
    records = [json.loads(line) for line in (flow / "cues/cues.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {record["text"] for record in records} == set(
        pd.read_parquet(flow / "data/prepared/own/pairs.parquet")["text"]
    )
    assert all(record["cues"] and all(record["cues"]) for record in records)


def test_a_teacher_that_learned_them_labels_them(labels):
    table = pd.read_parquet(labels)
    assert sorted(table["expression"]) == sorted(PHRASES.values())
    assert not (table["reason"] == "words").any()


@pytest.mark.parametrize("model", ["teachers/toy/refclip", "map_teachers/toy/tris"])
def test_a_teacher_that_did_not_refuses_their_words(world, flow, tmp_path, model):
    label(pairs=flow / "data/prepared/own", out=tmp_path, model=world / "data" / model)
    table = pd.read_parquet(tmp_path / "labels.parquet").set_index("expression")
    assert (table.drop(PHRASES["emoji"])["reason"] == "words").all()  # "ball" is known
    assert not table["accept"].drop(PHRASES["emoji"]).any()


def texts_of(path: Path) -> str:
    """All texts of a file, escapes resolved."""
    if path.suffix == ".json":
        return json.dumps(json.loads(path.read_text(encoding="utf-8")), ensure_ascii=False)
    if path.suffix == ".xml":
        root = ET.parse(path).getroot()
        return "\n".join(text for element in root.iter() for text in (element.text or "", *element.attrib.values()))
    rows = pq.read_table(path).to_pylist() if path.suffix == ".parquet" else []
    return json.dumps(rows, ensure_ascii=False, default=str)


@pytest.mark.parametrize("target", TARGETS)
def test_exports_hold_them(flow, labels, tmp_path, target):
    export(labels, to=target, images=flow / "data/prepared/own/images.parquet", out=tmp_path / "out", everything=True)
    found = "\n".join(texts_of(path) for path in sorted((tmp_path / "out").rglob("*")) if path.is_file())
    assert [phrase for phrase in PHRASES.values() if phrase not in found] == []


def test_the_report_shows_them(flow, labels, tmp_path):
    scores = pd.read_parquet(labels).assign(split="val", true_box=[[1.0, 1.0, 9.0, 9.0]] * len(PHRASES), iou=0.6)
    (tmp_path / "own").mkdir()
    scores.to_parquet(tmp_path / "own/refclip.parquet")
    run = RunParams(**dict.fromkeys(RunParams.__dataclass_fields__, ()) | {"teachers": ("refclip",)})
    cards = gallery("own", run, tmp_path, flow / "data/prepared", flow / "data/raw")
    start, end = "{% for card", "{% endfor %}"
    whole = TEMPLATE.read_text(encoding="utf-8")
    part = start + whole.split(start, 1)[1].split(end, 1)[0] + end
    page = jinja2.Environment(autoescape=True).from_string(part).render(section={"gallery": cards})
    assert [phrase for phrase in PHRASES.values() if f"“<bdi>{phrase}</bdi>”" not in page] == []


def test_a_terminal_without_their_letters_ends_nothing():
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    spell_out_unknown(stream)
    print("球", file=stream, flush=True)
    assert stream.buffer.getvalue() == b"\\u7403\n"
