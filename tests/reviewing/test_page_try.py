"""Phrases about listed and uploaded images; what is no image, or a hostile one, is refused."""

import struct
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from answering.predictor import Predictor
from deixis.core.errors import DataError
from deixis.language.location_words import parse_location_words
from reviewing.page.model import Model
from reviewing.page.pictures import KEPT_UPLOADS, LONG_SIDE
from reviewing.page.place_words import in_words
from tests.reviewing.page_client import client_of
from tests.reviewing.reviewable import write_reviewable

SCRIPT = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"


@pytest.fixture(scope="module")
def teacher(world):
    return world / "data/teachers/toy/dvin"


@pytest.fixture(scope="module")
def client(tmp_path_factory, teacher):
    labels = write_reviewable(tmp_path_factory.mktemp("own"), images=2)
    with client_of(labels, model=Model(lambda: teacher)) as client:
        yield client


def png(image: Image.Image, **options) -> bytes:
    stream = BytesIO()
    image.save(stream, "PNG", **options)
    return stream.getvalue()


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def upload(client, data: bytes):
    return client.put("/api/images", content=data, headers={"content-type": "application/octet-stream"})


def test_answers_are_those_of_the_predictor(client, teacher):
    image, phrases = noise(90, 70), ["red ball", "second star from the left"]
    uploaded = upload(client, png(image)).json()
    assert (uploaded["width"], uploaded["height"]) == (90, 70)
    asked = {"kind": "uploaded", "number": uploaded["number"], "phrases": phrases}
    found = client.post("/api/answers", json=asked).json()
    assert found["model"] == str(teacher)
    for answer, expected in zip(found["answers"], Predictor(teacher).predict(image, phrases), strict=True):
        assert answer["box"] == list(expected.box) and answer["runner_up"] == list(expected.runner_up)
        assert answer["box"] != answer["runner_up"]
        assert answer["mask"] == expected.rle and answer["reason"] == expected.reason
        assert (answer["score"], answer["margin"], answer["confidence"]) == (expected.score, expected.margin, None)
    assert [(one["place"], one["rest"]) for one in found["answers"]] == [
        ("", "red ball"),
        ("second from the left", "star"),
    ]


def test_listed_images_are_asked_about_by_number(client):
    known = client.get("/api/images/1").json()
    assert (known["kind"], known["number"], known["name"]) == ("listed", 1, "1.png")
    found = client.post("/api/answers", json={"kind": "listed", "number": 1, "phrases": ["a ball"]}).json()
    assert found["image"] == known
    for number in (-1, 2):
        asked = {"kind": "listed", "number": number, "phrases": ["a ball"]}
        assert client.get(f"/api/images/{number}").status_code == 404
        assert "Allowed: 0 to 1" in client.post("/api/answers", json=asked).json()["error"]


@pytest.mark.parametrize(
    ("phrases", "message"),
    [
        ([], "phrases: List should have at least 1 item"),
        (["!!"], 'a phrase without a word: "!!"'),
        (["ball"] * 21, "phrases: List should have at most 20 items"),
        (["ball " * 200], "phrases.0: String should have at most 500 characters"),
    ],
)
def test_what_is_no_question_is_refused(client, phrases, message):
    answer = client.post("/api/answers", json={"kind": "listed", "number": 0, "phrases": phrases})
    assert answer.status_code == 422 and message in answer.json()["error"]


def bomb(side: int) -> bytes:
    """A square PNG of many pixels in some kilobytes."""
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(1 + side // 8) * side, 9)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not an image of an allowed format"),
        (b"hello", "not an image of an allowed format"),
        (SCRIPT, "not an image of an allowed format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image of an allowed format"),
        (png(noise(60, 60))[:900], "cut short or damaged"),
        (bomb(8_001), "8001 x 8001 pixels; allowed: 64000000 pixels"),
        (bomb(20_000), "allowed: 64000000 pixels"),  # where Pillow itself ends
    ],
    ids=["empty", "text", "svg", "postscript", "cut", "bomb", "large bomb"],
)
def test_what_is_no_sound_image_is_refused(client, data, message):
    answer = upload(client, data)
    assert answer.status_code == 422 and message in answer.json()["error"]
    assert "dvc" not in answer.json()["error"]


def test_of_a_picture_that_is_also_a_script_only_the_picture_comes_back(client):
    data = png(noise(30, 20)) + SCRIPT
    picture = client.get(upload(client, data).json()["picture"])
    assert picture.headers["content-type"] == "image/png" and picture.headers["x-content-type-options"] == "nosniff"
    assert b"<script>" not in picture.content
    with Image.open(BytesIO(picture.content)) as shown:
        np.testing.assert_array_equal(np.asarray(shown), np.asarray(noise(30, 20)))


def test_an_upload_that_lies_on_its_side_is_turned(client):
    exif = Image.Exif()
    exif[0x0112] = 6
    uploaded = upload(client, png(noise(30, 20), exif=exif)).json()
    assert (uploaded["width"], uploaded["height"]) == (20, 30)
    with Image.open(BytesIO(client.get(uploaded["picture"]).content)) as shown:
        assert shown.size == (20, 30)


def test_large_pictures_come_smaller_and_keep_their_pixels_for_boxes(client):
    uploaded = upload(client, png(Image.new("RGB", (LONG_SIDE * 2, 50)))).json()
    assert uploaded["width"] == LONG_SIDE * 2
    with Image.open(BytesIO(client.get(uploaded["picture"]).content)) as shown:
        assert shown.size == (LONG_SIDE, 25)


def test_uploads_are_kept_for_a_while_in_memory(client, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    numbers = [upload(client, png(noise(9, 9))).json()["number"] for _ in range(KEPT_UPLOADS + 1)]
    assert client.get(f"/uploads/{numbers[0]}").status_code == 404
    assert all(client.get(f"/uploads/{number}").status_code == 200 for number in numbers[1:])
    asked = {"kind": "uploaded", "number": numbers[0], "phrases": ["a ball"]}
    assert "Upload it again" in client.post("/api/answers", json=asked).json()["error"]
    assert not list(tmp_path.iterdir())


def test_a_picture_of_another_size_than_the_table_says_is_not_shown(tmp_path):
    labels = write_reviewable(tmp_path, images=1)
    noise(50, 50).save(tmp_path / "prepared/images/0.png")
    with client_of(labels) as client:
        answer = client.get(client.get("/api/labels/0").json()["picture"])
        assert (
            answer.status_code == 422 and "has 50 x 50 pixels, and the table of images says" in answer.json()["error"]
        )


def test_what_there_is_nothing_of_is_not_served(client, tmp_path):
    with (
        client_of(None, model=Model(lambda: tmp_path)) as only_try,
        client_of(write_reviewable(tmp_path, images=1)) as only_review,
    ):
        for page, served, other in ((only_try, "try", "review"), (only_review, "review", "try"), (client, "try", "")):
            assert f'href="/{served}"' in page.get("/start").text
            if other:
                assert f'href="/{other}"' not in page.get("/start").text
                assert page.get(f"/{other}").status_code == 404
        assert "none, since there is no list" in only_try.get("/api/images/0").json()["error"]
        assert only_review.post("/api/answers", json={}).status_code == 404


def test_one_question_at_a_time_and_no_endless_wait():
    begun, go_on = threading.Event(), threading.Event()

    def slow():
        begun.set()
        go_on.wait(10)
        raise DataError("no model after all")

    with client_of(None, model=Model(slow, wait_s=0.05)) as client:
        number = upload(client, png(noise(9, 9))).json()["number"]
        asked = {"kind": "uploaded", "number": number, "phrases": ["a ball"]}
        with ThreadPoolExecutor(1) as elsewhere:
            first = elsewhere.submit(client.post, "/api/answers", json=asked)
            begun.wait(10)
            second = client.post("/api/answers", json=asked)
            go_on.set()
    assert second.status_code == 503 and "Ask again in a while" in second.json()["error"]
    assert first.result().json() == {"error": "no model after all"}


@pytest.mark.parametrize(
    ("phrase", "words"),
    [
        ("red ball", ""),
        ("ball on the left", "on the left"),
        ("ball at the top left", "at the top left"),
        ("third star from the right", "third from the right"),
        ("sixth star from the right", "6th from the right"),
        ("ball in the middle", "near the middle"),
        ("the ball in front", "in front"),
        ("ball left of the star", "left of “star”"),
        ("star next to the red ball on the left", "near “red ball on the left”"),
    ],
)
def test_places_are_said_as_they_were_read(phrase, words):
    assert in_words(parse_location_words(phrase)) == words
