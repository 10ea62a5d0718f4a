"""A trained student as one ONNX graph: an image and a phrase in, a box out, and a mask where the student draws one.

The graph holds what `predict` computes. What stands round it, letterbox, vocabulary and the way back to the image,
is described in a JSON file beside it, so that a runtime without Python can do it.
"""

import gc
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from deixis.core.errors import ConfigError
from deixis.imaging.letterbox import PAD_VALUE
from deixis.language.text import BECOMES_SPACE, DELETED, PAD, TYPOGRAPHIC, UNKNOWN
from deixis.language.word_pieces import is_word_pieces
from deixis.roles import Student, module_of
from deixis.types import StudentBatch

INPUTS = ("squares", "content_xyxy", "tokens")
BATCH = torch.export.Dim("batch")
OPSET = 20


class OneShot(nn.Module):
    """`predict` of a student as tensors in, tensors out: one phrase for each image."""

    def __init__(self, student: Student) -> None:
        super().__init__()
        self.student = module_of(student)

    def forward(self, squares: Tensor, content_xyxy: Tensor, tokens: Tensor) -> tuple[Tensor, ...]:
        """Boxes, scores, and masks where there are any."""
        grounding = self.student.predict(one_phrase_each(squares, content_xyxy, tokens))
        return tuple(x for x in (grounding.boxes_xyxy, grounding.scores, grounding.masks) if x is not None)


def one_phrase_each(squares: Tensor, content_xyxy: Tensor, tokens: Tensor) -> StudentBatch:
    """The graph's inputs as students read them."""
    rows = torch.arange(tokens.shape[0], device=tokens.device)
    return StudentBatch(squares=squares, content_xyxy=content_xyxy, tokens=tokens, image_of=rows)


def export_onnx(student: Student, name: str, path: Path) -> dict[str, Any]:
    """Write the graph of a frozen student for any number of images, each with one phrase.

    Returns:
        The description of its inputs and outputs and of all that a runtime must do itself.

    Raises:
        ConfigError: If the student is more than its network, or the packages of the extra `onnx` are missing.
    """
    if student.onnx_obstacle is not None:
        raise ConfigError(
            f"{name} cannot become one ONNX graph: {student.onnx_obstacle}. Export another student, or --to safetensors"
        )
    require_exporter()
    shots = OneShot(student).eval()
    example = _example(student)
    with torch.no_grad():
        answer = student.predict(one_phrase_each(*example))
    outputs = ("boxes_xyxy", "scores", "masks")[: 2 if answer.masks is None else 3]
    write_graph(shots, example, outputs, path)
    return describe(student, name, outputs, mask_threshold=answer.mask_threshold)


def require_exporter() -> None:
    """Stop where the packages of the extra `onnx` are missing.

    Raises:
        ConfigError: Naming the command that installs them.
    """
    try:
        import onnxscript  # noqa: F401  # torch's exporter builds on it
    except ModuleNotFoundError:
        raise ConfigError(
            "ONNX export needs the extra onnx, which is not installed. Run: uv sync --extra onnx"
        ) from None


def write_graph(model: nn.Module, example: tuple[Tensor, ...], outputs: tuple[str, ...], path: Path) -> None:
    """Write the graph of a model whose inputs are `INPUTS`, for any batch size."""
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # a fused operator that no graph knows
    collects = gc.isenabled()
    gc.disable()  # a graph in the making is no garbage, and looking for some takes a fifth of the time
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch about its own parts
            program = torch.export.export(model, example, dynamic_shapes=({0: BATCH},) * len(INPUTS), strict=False)
            torch.onnx.export(
                program, f=path, input_names=INPUTS, output_names=outputs, opset_version=OPSET, dynamo=True,
                external_data=False, verbose=False,
            )  # fmt: skip
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
        if collects:
            gc.enable()


def _example(student: Student) -> tuple[Tensor, Tensor, Tensor]:
    """Two grey images, each with a phrase of one word; a batch of one would be taken for a constant."""
    side = student.input_size
    tokens = torch.full((2, student.text_length), PAD)
    tokens[:, 0] = UNKNOWN
    return (
        torch.full((2, 3, side, side), PAD_VALUE, dtype=torch.uint8),
        torch.tensor([[0.0, 0.0, side, side]] * 2),
        tokens,
    )


def describe(student: Student, name: str, outputs: tuple[str, ...], *, mask_threshold: float) -> dict[str, Any]:
    """What a foreign runtime must know, as JSON."""
    side, length = student.input_size, student.text_length
    meaning = {
        "boxes_xyxy": f"float32 [batch, 4], corners in pixels of the square, from 0 to {side} and perhaps past it",
        "scores": "float32 [batch], higher is better" if student.has_score else "float32 [batch], always 1: no score",
        "masks": f"float32 [batch, {side}, {side}] from 0 to 1 over the square",
    }
    described: dict[str, Any] = {
        "student": name,
        "inputs": {
            "squares": f"uint8 [batch, 3, {side}, {side}], RGB, letterboxed; no normalisation: the graph does it",
            "content_xyxy": "float32 [batch, 4], left, top, right, bottom of the image inside the square, in pixels",
            "tokens": f"int64 [batch, {length}], ids of the phrase's words, then padding",
        },
        "outputs": {output: meaning[output] for output in outputs},
        "letterbox": _letterbox(side),
        "text": _text(student.vocabulary, length),
        "vocabulary": student.vocabulary,
    }
    if "masks" in outputs:
        described["mask_threshold"] = mask_threshold
    return described


def _letterbox(side: int) -> dict[str, Any]:
    return {
        "side": side,
        "pad_value": PAD_VALUE,
        "resized": "long side = side, short side = max(1, floor(side * short / long))",
        "offset": "left = (side - resized width) // 2, top = (side - resized height) // 2",
        "interpolation": "bilinear with antialiasing, as Pillow's resize",
        "back": "x = (x_square - left) * width / resized width, y likewise; then clip to the image",
    }


def _text(vocabulary: list[str], length: int) -> dict[str, Any]:
    return {
        "normalisation": [
            "Unicode NFKC, typographic quotes and dashes to plain ones, lower case",
            "control characters to blanks",
            f"delete every match of {DELETED.pattern}",
            f"every match of {BECOMES_SPACE.pattern} to one blank; strip",
        ],
        "typographic": {chr(code): plain for code, plain in TYPOGRAPHIC.items()},
        "tokens": _tokens(vocabulary, length),
        "pad": PAD,
        "unknown": UNKNOWN,
        "length": length,
    }


def _tokens(vocabulary: list[str], length: int) -> str:
    if is_word_pieces(vocabulary):
        return f"BERT's WordPieces between [CLS] and [SEP], {length} ids at most, of which the last stays [SEP]"
    return f"split at blanks, keep the first {length}, look each word up in the vocabulary"
