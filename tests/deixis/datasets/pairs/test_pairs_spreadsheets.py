"""Tables as Excel and other people's systems leave them."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from commands.scan import scan
from deixis.core.errors import DataError
from deixis.datasets.pairs.guess import read_names
from tests.deixis.datasets.pairs.corpora import codes, good_rows, image, ingest, write_hf_set

DOUBLE = bytes([0, 5, 0x16, 7, 0, 2, 0, 0]) + b"Mac OS X        \0\x02\0\0\0\x09\xb0ATTR"  # as a Mac writes it
TYPED = ["the black–white dog", "man’s “best” friend — left", "café sign, 5 € menu", "l’oie blanche"]


def read(raw, out):
    return ingest(raw, out, boxes=None)


def expressions(tables) -> list[str]:
    return tables["pairs"].sort_values("sample_id")["expression"].tolist()


@pytest.fixture
def raw(tmp_path):
    image(tmp_path / "raw" / "images" / "a.png", 0)
    return tmp_path / "raw"


def test_windows_text_is_what_was_typed(raw, tmp_path):
    image(raw / "images" / "l’oie.png", 1)
    rows = [f"{'l’oie.png' if text == TYPED[3] else 'a.png'};{text}\r\n" for text in TYPED]
    texts = {}
    for encoding in ("utf-8", "cp1252"):
        (raw / "pairs.csv").write_bytes(f"image;text\r\n{''.join(rows)}".encode(encoding))
        tables = read(raw, tmp_path / encoding)
        assert expressions(tables) == TYPED
        assert codes(tables) == ([] if encoding == "utf-8" else ["W_ENCODING"] * 4)
        texts[encoding] = tables["pairs"]["text"].tolist()
    assert texts["cp1252"] == texts["utf-8"] and "the black white dog" in texts["utf-8"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "cp1252"])
@pytest.mark.parametrize("kind", ["list", "COCO"])
def test_json_in_any_encoding(raw, tmp_path, kind, encoding):
    row = {"image": "a.png", "text": TYPED[0]}
    note = {"id": 1, "image_id": 1, "caption": TYPED[0]}
    whole = [row] if kind == "list" else {"images": [{"id": 1, "file_name": "a.png"}], "annotations": [note]}
    start = "\ufeff\n" if encoding == "utf-16-be" else "\n"
    (raw / "pairs.json").write_bytes((start + json.dumps(whole, ensure_ascii=False)).encode(encoding))
    tables = read(raw, tmp_path / "out")
    assert (expressions(tables), codes(tables)) == ([TYPED[0]], ["W_ENCODING"] if encoding == "cp1252" else [])


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("text", ["красный квадрат", "红色方块", "red square"])
def test_tables_in_utf_16_without_its_mark(raw, tmp_path, text, encoding):
    (raw / "pairs.csv").write_bytes(f"image,text\na.png,{text}\n".encode(encoding))
    tables = read(raw, tmp_path / "out")
    assert (expressions(tables), codes(tables)) == ([text], [])


def test_a_few_zeros_make_no_utf_16(raw, tmp_path):
    (raw / "pairs.csv").write_bytes(b"image,text\n" + b"a.png,red\0 squares\n" * 6)
    assert expressions(read(raw, tmp_path / "out")) == ["red squares"] * 6


def test_bytes_that_windows_leaves_open_are_read_all_the_same(raw, tmp_path):
    (raw / "pairs.jsonl").write_bytes(b'{"image": "a.png", "text": "red \x93ball\x94 \x81"}\n')
    tables = read(raw, tmp_path / "out")
    assert (expressions(tables), codes(tables)) == (["red “ball” "], ["W_ENCODING", "W_TEXT_CONTROL"])


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"], ids=["", "with a mark"])
@pytest.mark.parametrize("name", ["pairs.csv", "pairs.tsv", "pairs.jsonl", "images/a.txt"])
def test_carriage_returns_end_lines(raw, tmp_path, name, start):
    lines = {
        "pairs.csv": b'image,text\ra.png,"caf\xc3\xa9, wall"\r\ra.png,the left half\r',
        "pairs.tsv": b"image\ttext\ra.png\tcaf\xc3\xa9, wall\r\ra.png\tthe left half",
        "pairs.jsonl": b'{"image":"a.png","text":"caf\xc3\xa9, wall"}\r\r{"image":"a.png","text":"the left half"}\r',
        "images/a.txt": b"caf\xc3\xa9, wall\r\rthe left half\r",
    }
    (raw / name).write_bytes(start + lines[name])
    tables = read(raw, tmp_path / "out")
    assert (expressions(tables), codes(tables)) == (["café, wall", "the left half"], [])


def test_a_line_without_end_in_a_file_of_carriage_returns_takes_no_other_with_it(raw, tmp_path):
    (raw / "pairs.csv").write_bytes(b"image,text\ra.png,red\ra.png," + b"x" * (3 << 20) + b"\ra.png,blue\r")
    tables = read(raw, tmp_path / "out")
    assert (expressions(tables), codes(tables)) == (["red", "blue"], ["E_ROW_SIZE"])


@pytest.mark.parametrize("stated", ["sep=;", "SEP=;", '"sep=;"', "\ufeffsep=;"])
def test_excels_own_first_line_names_the_delimiter(raw, tmp_path, stated):
    (raw / "pairs.csv").write_text(f"{stated}\r\nimage;text\r\na.png;red wall, left\r\na.png\r\n", encoding="utf-8")
    tables = read(raw, tmp_path / "out")
    assert (expressions(tables), codes(tables)) == (["red wall, left"], ["E_ROW_BROKEN"])
    assert tables["quarantine"]["line"].tolist() == [3]
    assert read_names("csv", raw / "pairs.csv") == ["image", "text"]


def test_any_delimiter_may_be_stated(raw, tmp_path):
    (raw / "pairs.csv").write_text("sep=|\nimage|text\na.png|red; wall, left\n")
    assert expressions(read(raw, tmp_path / "out")) == ["red; wall, left"]


@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet", "hf"])
def test_a_column_that_is_there_twice_is_refused_by_name(raw, tmp_path, kind):
    if kind in ("csv", "tsv"):
        mark = "\t" if kind == "tsv" else ","
        rows = (("image", "text", " text"), ("a.png", "the red wall", ""), ("a.png", "left side", "the left half"))
        (raw / f"pairs.{kind}").write_text("\n".join(map(mark.join, rows)))
    else:
        columns = [pa.array(["a.png"]), pa.array(["the red wall"]), pa.array(["the left half"])]
        table = pa.Table.from_arrays(columns, names=["image", "text", "text"])
        pq.write_table(table, raw / "pairs.parquet")
        if kind == "hf":
            write_hf_set(raw, [{"image": "a.png"}], shards=1)
            with pa.OSFile(str(raw / "data-00000-of-00001.arrow"), "wb") as sink:
                with pa.ipc.new_stream(sink, table.schema) as writer:
                    writer.write_table(table)
    for attempt in (lambda: read(raw, tmp_path / "out"), lambda: scan(raw)):
        with pytest.raises(DataError, match=r"several columns are called text\. Found: image, text, text.*Rename"):
            attempt()


def test_columns_that_nobody_reads_may_repeat(raw, tmp_path):
    (raw / "pairs.csv").write_text("image,text,,\na.png,red wall,x,y\n")
    assert expressions(read(raw, tmp_path / "out")) == ["red wall"]


def test_a_list_of_json_with_a_key_twice_loses_that_row_alone(raw, tmp_path):
    (raw / "pairs.json").write_text(
        '[{"image": "a.png", "text": "red", "text": "blue"}, {"image": "a.png", "text": "x"}]'
    )
    tables = read(raw, tmp_path / "out")
    assert (expressions(tables), codes(tables)) == (["x"], ["E_ROW_BROKEN"])
    assert "'text' twice" in tables["quarantine"]["value"][0]


@pytest.mark.parametrize("kind", ["csv", "parquet", "sidecars", "pattern"])
def test_what_systems_put_beside_a_file_is_passed_over(raw, tmp_path, kind):
    (raw / "images" / "._a.png").write_bytes(DOUBLE)
    (raw / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    name = "images/a.txt" if kind == "sidecars" else "pairs.parquet" if kind == "parquet" else "pairs.csv"
    if kind == "parquet":
        pq.write_table(pa.table({"image": ["a.png"], "text": ["red wall"]}), raw / name)
    else:
        (raw / name).write_text("red wall\n" if kind == "sidecars" else "image,text\na.png,red wall\n")
    for start in ("._", "~$", ".~lock."):
        (raw / name).with_name(f"{start}{(raw / name).name}").write_bytes(DOUBLE)
    tables = ingest(raw, tmp_path / "out", boxes=None, source="*.csv" if kind == "pattern" else "")
    assert (expressions(tables), codes(tables)) == (["red wall"], [])


LABELS = {
    "YOLO": ("0 0.5 0.5 0.2 0.1\n1 0.25 0.5 0.1 0.1\n", 2),
    "YOLO's outlines": ("3 0.1 0.1 0.2 0.1 0.2 0.2\n", 1),
    "KITTI": ("Car 0.00 0 -1.58 587.01 173.33 614.12 200.12 1.65 1.67 3.64 -0.65 1.71 46.70 -1.59\n", 1),
    "VisDrone": ("684,8,273,116,0,0,0,0\n406,119,265,70,0,0,0,0,\n", 2),
    "with semicolons": ("3;10;20;30;40\n", 1),
    "DOTA": ("10.0 20.0 30.0 20.0 30.0 40.0 10.0 40.0 plane 0\n", 1),
}


@pytest.mark.parametrize(("text", "rows"), LABELS.values(), ids=LABELS)
def test_label_files_beside_images_are_no_phrases(raw, tmp_path, text, rows):
    (raw / "images" / "a.txt").write_text(text)
    with pytest.raises(DataError, match=rf"no usable pair .*\({rows} E_TEXT_TYPE\).*numbers, as YOLO's labels are"):
        read(raw, tmp_path / "out")


@pytest.mark.parametrize("text", ["player number 4 of 5", "7", "the bus 1 2 3 4", "0.5 0.5 0.5", "1,2,3 and 4, red"])
def test_phrases_beside_images_may_have_numbers(raw, tmp_path, text):
    (raw / "images" / "a.txt").write_text(text)
    assert expressions(read(raw, tmp_path / "out")) == [text]


@pytest.mark.parametrize("name", ["pairs.csv", "pairs.tsv"])
def test_a_first_line_that_is_no_header_is_named(raw, tmp_path, name):
    (raw / name).write_bytes(b"image,text," + b"x" * 200_000 + b"\na.png,t,1\n")
    for attempt in (lambda: read(raw, tmp_path / "out"), lambda: scan(raw)):
        with pytest.raises(DataError, match=rf"{name}: its first line is no header\. Put one there, as image,text"):
            attempt()


def test_a_space_after_each_comma_is_no_part_of_a_value(raw, tmp_path):
    rows = ['red wall, a.png\n"blue, wall", a.png\n', 'a.png, red wall\n a.png, "blue, wall"\n']
    for number, (header, text) in enumerate(zip(("text, image", "image, text"), rows, strict=True)):
        (raw / "pairs.csv").write_text(f"{header}\n{text}")
        tables = read(raw, tmp_path / f"out{number}")
        assert (sorted(tables["pairs"]["expression"]), codes(tables)) == (["blue, wall", "red wall"], [])


def test_spaces_round_a_name_are_dropped_where_no_file_has_them(raw, tmp_path):
    rows = good_rows(raw, 2)
    image(raw / "images" / " good0.png", 9)
    (raw / "pairs.csv").write_text("image,text\n good0.png ,spaced\n good1.png,red\n good0.png,odd\n")
    tables = read(raw, tmp_path / "out")
    joined = tables["pairs"].merge(tables["images"], on="image_id").set_index("expression")["path"].to_dict()
    assert joined == {"spaced": rows[0]["image"], "red": rows[1]["image"], "odd": " good0.png"}


def write_tsv(raw, texts, end="\n"):
    (raw / "pairs.tsv").write_bytes(("image\ttext\n" + "\n".join(f"a.png\t{text}" for text in texts) + end).encode())


def test_between_tabs_quotation_marks_may_be_plain_characters(raw, tmp_path):
    texts = ["the plain wall", '"stop" sign on the left', '"open', 'a 5" pipe', 'the man who says "hi"', "café"]
    write_tsv(raw, texts)
    tables = read(raw, tmp_path / "out")
    assert (expressions(tables), codes(tables)) == (texts, [])


def test_a_quote_takes_no_row_along_where_a_later_one_closes_it(raw, tmp_path):
    texts = ['"open', "red wall", 'closed"', '"stop" sign']
    write_tsv(raw, texts, end="")
    tables = read(raw, tmp_path / "out")
    assert (expressions(tables), codes(tables)) == (texts, [])


@pytest.mark.parametrize("text", ['"the ""red"" ball, left"', '"the ""red""\nball, left"'])
def test_between_tabs_a_spreadsheets_quotes_are_quotes(raw, tmp_path, text):
    write_tsv(raw, ["wall", text, "door"])
    found = expressions(read(raw, tmp_path / "out"))
    assert [" ".join(text.split()) for text in found] == ["wall", 'the "red" ball, left', "door"]


@pytest.mark.parametrize("cut", ['"the man on', '"the man\non the'])
def test_a_value_that_the_end_of_a_file_cuts_is_refused(raw, tmp_path, cut):
    write_tsv(raw, ["wall", cut], end="")
    tables = read(raw, tmp_path / "out")
    assert expressions(tables) == ["wall"] and set(codes(tables)) == {"E_ROW_BROKEN"}


def test_a_row_of_windows_letters_after_an_open_quote_is_remarked_once(raw, tmp_path):
    (raw / "pairs.tsv").write_bytes('image\ttext\na.png\t"open\na.png\tcafé\n'.encode("cp1252"))
    tables = read(raw, tmp_path / "out")
    assert (expressions(tables), codes(tables)) == (['"open', "café"], ["W_ENCODING"])


@pytest.mark.parametrize(
    ("typed", "split", "boxed"),
    [("Train", "train", False), ("TRAIN", "train", False), ("Training", "train", False), ("Val", "val", True),
     ("VALIDATION", "val", True), ("Dev", "val", True), ("Test", "test", True), ("testA", "testA", True)],
)  # fmt: skip
def test_splits_in_any_case(raw, tmp_path, typed, split, boxed):
    box = "1 2 10 12" if boxed else ""
    (raw / "pairs.csv").write_text(f"image,text,split,box\na.png,red wall,{typed},{box}\n")
    tables = ingest(raw, tmp_path / "out", max_quarantined=0.0)
    assert tables["pairs"]["split"].tolist() == [split]
