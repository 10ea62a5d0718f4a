"""What is known of a trained model that its authors released: their names for its tensors, and ours."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor

State = dict[str, Tensor]
Words = Literal["words", "word_pieces", "byte_pairs"]  # what its token list holds


@dataclass(frozen=True)
class Carried:
    """A frozen model that travels in the file of a trained one."""

    folder: str  # below the folder of frozen models
    registry: Literal["detector", "expert"]
    kind: str  # in that registry


@dataclass(frozen=True)
class Release:
    """How the file of one method is read.

    Attributes:
        role: Of the method: teacher, map_teacher or student.
        method: Its name in the registry of that role.
        supervision: What it learned from, as its card says it.
        rules: Regular expressions for parts of their names and what we put there, applied in this order; every tensor
            must have got one of our names in the end.
        configure: Settings of the model from its tensors, by our names.
        words: Kind of its token list.
        unread: How names, by ours, of tensors begin that nothing reads.
        spare: The same, where the model's settings decide it.
        carried: Prefix of a frozen model's names in the file -> which one it is.
        reshape: Changes tensors, by our names, where their shapes are others than ours.
    """

    role: str
    method: str
    supervision: str
    rules: Mapping[str, str]
    configure: Callable[[State], dict[str, Any]]
    words: Words = "words"
    unread: tuple[str, ...] = ()
    spare: Callable[[Any], tuple[str, ...]] | None = None
    carried: Mapping[str, Carried] = field(default_factory=dict)
    reshape: Callable[[State], State] | None = None
