"""Foreign files: archives and text of Python 2."""

import gzip
import io
import pickle
import zipfile

import numpy as np
import pandas as pd
import pytest
import torch

from deixis.core.errors import DataError
from deixis.datasets.refer_files import fix_text, read_json, read_plain_pickle
from tests.fabricate import python2_pickle


def torch_archive(path):
    torch.save([{"ref_id": 1}], path)


def torch_legacy(path):
    torch.save([{"ref_id": 1, "weights": torch.zeros(2)}], path, _use_new_zipfile_serialization=False)


def zipped(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../refs(unc).p", pickle.dumps([]))


def gzipped(path):
    path.write_bytes(gzip.compress(pickle.dumps([])))


@pytest.mark.parametrize("write", [torch_archive, zipped, gzipped])
def test_an_archive_is_refused_by_name(tmp_path, write):
    write(tmp_path / "refs(unc).p")
    with pytest.raises(DataError, match=r"refused: it is a (zip|gzip) archive.*Fetch the file again"):
        read_plain_pickle(tmp_path / "refs(unc).p")


def test_an_old_torch_file_is_no_list_of_refs(tmp_path):
    torch_legacy(tmp_path / "refs(unc).p")
    assert not isinstance(read_plain_pickle(tmp_path / "refs(unc).p"), list)


@pytest.mark.parametrize(
    "stream",
    [
        b"\x80\x02]q\x00\x8d\xff\xff\xff\xff\xff\xff\xff\x7f.",  # text of almost 2^63 bytes
        b"\x80\x02]r\xff\xff\xff\xff.",  # memo number 2^32 - 1
        b"\x80\x02\x82\x01.",  # an extension code
        b"cos\nsystem\n(S'true'\ntR.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
        b"Pid\n.",
        b"\x80\x02}}b.",  # state for a dictionary
    ],
)
def test_no_stream_gets_past_plain_values(tmp_path, stream):
    path = tmp_path / "refs(unc).p"
    path.write_bytes(stream)
    try:
        value = read_plain_pickle(path)
    except DataError as error:
        assert "refused" in str(error)
    else:
        assert value in ([], {})


@pytest.mark.parametrize(("value", "is_told"), [(np.float32(1), True), (pd.DataFrame(), False), ({1, 2}, False)])
def test_values_of_numpy_are_told_how_to_become_plain(tmp_path, value, is_told):
    path = tmp_path / "refs(unc).p"
    path.write_bytes(pickle.dumps([{"ref_id": value}], protocol=2))
    with pytest.raises(DataError, match="refused: it names the object") as refusal:
        read_plain_pickle(path)
    assert ("tolist" in str(refusal.value)) == is_told


@pytest.mark.parametrize("put", [b"r\x00\x00\x00\x01", b"p16777216\n"])
@pytest.mark.parametrize("before", [b"\x80\x02", b"S'caf\\xe9'\n0", b"X\x01\x00\x00\x00r0"])
def test_a_few_bytes_cannot_ask_for_a_list_of_millions(tmp_path, before, put):
    path = tmp_path / "refs(unc).p"
    path.write_bytes(before + b"]" + put + b".")
    with pytest.raises(DataError, match=r"refused: it numbers a value 16777216, in a file of \d+ bytes"):
        read_plain_pickle(path)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_protocol_is_read(tmp_path, protocol):
    values = [{"raw": "café r\x01", "ids": (1, 2**70, -3, 0.5, None, True)}, ["."] * 300, "p9999999\nr"]
    values += [values[0], "red car" * 99]
    behind = b"\x00r\x00\x00\x00\x01"  # nobody reads it
    (tmp_path / "refs(unc).p").write_bytes(pickle.dumps(values, protocol) + behind[protocol % 2 :])
    assert read_plain_pickle(tmp_path / "refs(unc).p") == values


@pytest.mark.parametrize(
    ("stored", "typed"),
    [("red car™".encode(), "red car™"), (b"red car\x99", "red car™"), (b"caf\xe9", "café"), (b"plain", "plain"),
     (b"\x81 odd", "\x81 odd")],
)  # fmt: skip
def test_text_of_python_2_is_what_was_typed(stored, typed):
    assert fix_text(stored.decode("latin1")) == typed


def test_text_that_says_what_it_is_stays(tmp_path):
    for text in ("red car™", "日本", "café"):
        assert fix_text(text) == text


def test_the_byte_strings_of_python_2_are_written_as_such(tmp_path):
    (tmp_path / "refs.p").write_bytes(python2_pickle([{"raw": "car™", "n": [1, 2.5]}]))
    assert read_plain_pickle(tmp_path / "refs.p") == [{"raw": "car™".encode().decode("latin1"), "n": [1, 2.5]}]
    assert b"X" not in python2_pickle(["a"])  # the opcode of Python 3's text
    assert pickle.load(io.BytesIO(python2_pickle(["a"]))) == ["a"]


@pytest.mark.parametrize("text", ["", "{", "[" * 200_000, '{"a": ' + "1" * 5000 + "}", "\xff"])
def test_what_is_no_json_is_refused(tmp_path, text):
    path = tmp_path / "instances.json"
    path.write_text(text, encoding="latin1")
    with pytest.raises(DataError, match=r"(?s)instances\.json: not JSON.*Allowed: this.*dvc repro"):
        read_json(path, what="this")


def test_a_byte_order_mark_does_no_harm(tmp_path):
    (tmp_path / "a.json").write_text("\ufeff[1]", encoding="utf-8")
    assert read_json(tmp_path / "a.json", what="this") == [1]
