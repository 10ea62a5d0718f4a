"""The model that answers on the page: loaded when first asked, one answer at a time."""

from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from PIL import Image

from deixis.core.errors import DataError

if TYPE_CHECKING:  # it brings torch, for which starting the server does not wait
    from answering.predictor import Answer, Predictor

WAIT_S = 30.0  # for the answer before


class Busy(DataError):
    """Somebody else's answer takes long."""


class Model:
    """A trained model that need not be loaded yet.

    Args:
        choose: Its folder, when it is needed.
        weights: The frozen models; None for those of its own data folder.
        device: `auto`, `cpu` or `cuda`.
        wait_s: Seconds that a question waits for the one before.
    """

    def __init__(
        self, choose: Callable[[], Path], *, weights: Path | None = None, device: str = "auto", wait_s: float = WAIT_S
    ) -> None:
        self._choose, self._weights, self._device, self._wait_s = choose, weights, device, wait_s
        self._lock = Lock()
        self._predictor: Predictor | None = None

    def answer(self, image: Image.Image, phrases: Sequence[str]) -> "tuple[str, list[Answer]]":
        """The model's folder, and its answers.

        Raises:
            DataError: If it cannot be loaded, or a phrase has no word.
            ConfigError: If the folder holds something else.
            Busy: If the question before takes too long.
        """
        if not self._lock.acquire(timeout=self._wait_s):
            raise Busy(f"another question has been answered for {self._wait_s:.0f} s already. Ask again in a while")
        try:
            predictor = self._loaded()
            return str(predictor.folder), predictor.predict(image, phrases)
        finally:
            self._lock.release()

    def _loaded(self) -> "Predictor":
        if self._predictor is None:
            from answering.predictor import Predictor

            self._predictor = Predictor(self._choose(), weights=self._weights, device=self._device)  # pyright: ignore
        return self._predictor
