"""From the file of a released model to a checkpoint folder like that of a model trained here."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from torch import nn

from deixis.core.checkpoints import save_checkpoint, save_state
from deixis.core.errors import ConfigError, DataError
from deixis.core.published import check_names, read_tensors, renamed
from deixis.core.records import file_sha256
from deixis.core.registry import resolve
from deixis.language.text import SPECIAL
from deixis.language.token_lists import read_token_list
from deixis.language.word_pieces import byte_pair_ids, read_byte_pairs, read_word_pieces
from deixis.roles import stored_experts
from models.frozen.importing import REGISTRIES
from models.map_teachers import MAP_TEACHERS
from models.releases import RELEASES
from models.releases.release import Carried, Release, State
from models.students import STUDENTS
from models.teachers import TEACHERS

METHODS = {"teacher": TEACHERS, "map_teacher": MAP_TEACHERS, "student": STUDENTS}
TOKEN_LISTS = {"words": read_token_list, "word_pieces": read_word_pieces, "byte_pairs": read_byte_pairs}
WORD_TABLES = ("text_encoder.embedding.weight", "bert.embeddings.word_embeddings.weight")  # as names end
SELECTION = "as released: its authors' code chooses the epoch by the true boxes or masks of val"
REMEDY = (
    "Where you trust it, keep its tensors alone: "
    "python -c \"import torch; s = torch.load('IN', weights_only=False); "
    "torch.save(s.get('state_dict') or s.get('model') or s, 'OUT')\""
)


@dataclass(frozen=True)
class Report:
    """What became of a file's tensors, and what the imported model still needs."""

    read: int  # tensors that the model has now
    unread: list[str]  # by the release's names: nothing reads them
    carried: dict[str, Path]  # frozen models that the file held, and where they are now
    linked: list[str]  # frozen models that were there already
    lacking: list[str]  # frozen models that answering asks for, and that are nowhere yet


def import_release(
    name: str,
    file: Path,
    out: Path,
    *,
    tokens: Path,
    weights: Path | None = None,
    settings: Sequence[str] = (),
) -> Report:
    """Write the checkpoint of a released model to `out`, and the frozen models that its file carries to `out`/weights.

    Args:
        name: Of a release.
        tokens: Its token list.
        weights: Folder of frozen models; those that the file does not carry are linked from there.
        settings: `name=value` of the model's settings that no tensor tells, such as text.length=20.

    Raises:
        DataError: If a tensor is missing, unknown or of another shape, or the tokens are not as many as the word table.
        ConfigError: If there is no such release or setting.
    """
    release: Release = resolve(RELEASES, name, role="release")
    parts = split_carried(read_tensors(file, remedy=REMEDY), release)
    state, released_names = with_our_names(parts.pop(""), release)
    vocabulary = TOKEN_LISTS[release.words](tokens)
    config = read_config(release, state, file, settings)
    unread = take_unread(state, release, config)
    model = build(release, config, state, vocabulary, file)
    model.load_state_dict(state, strict=True)
    unread = sorted(released_names[ours] for ours in unread)
    facts = {"release": name, "file": file.name, "sha256": file_sha256(file), "unread": unread}
    card = {release.role: release.method, "model": asdict(config), "vocabulary": vocabulary, "imported": facts}
    about = {"supervision": release.supervision, "selection": SELECTION, "seed": None}
    carried = {}
    for prefix, part in parts.items():
        frozen = release.carried[prefix]
        carried[frozen.folder] = write_frozen(frozen, part, file, out / "weights" / frozen.folder)
    linked, lacking = link_frozen(needed_frozen(model, release), weights, out / "weights")
    save_checkpoint(model, out, config=card | about)
    return Report(len(state), unread, carried, linked, lacking)


def split_carried(tensors: State, release: Release) -> dict[str, State]:
    """The trained model's tensors under the empty prefix, and those of each frozen model that the file holds."""
    parts: dict[str, State] = {"": {}}
    for name, tensor in tensors.items():
        prefix = next((prefix for prefix in release.carried if name.startswith(prefix)), "")
        parts.setdefault(prefix, {})[name.removeprefix(prefix)] = tensor
    return parts


def with_our_names(tensors: State, release: Release) -> tuple[State, dict[str, str]]:
    """Tensors by our names, shaped as ours, and what the release calls each.

    Raises:
        DataError: If two tensors get one name.
    """
    released_names = {next(iter(renamed({name: tensor}, release.rules))): name for name, tensor in tensors.items()}
    if len(released_names) < len(tensors):
        raise DataError(f"two of {len(tensors)} tensors mean the same one of {release.method}. Fetch the file again")
    state = {ours: tensors[name] for ours, name in released_names.items()}
    return state if release.reshape is None else release.reshape(state), released_names


def read_config(release: Release, state: State, file: Path, settings: Sequence[str]) -> Any:
    """The model's settings, from its tensors and from the user.

    Raises:
        DataError: If a tensor is lacking that tells one.
    """
    try:
        found = release.configure(state)
    except (KeyError, IndexError) as error:
        raise DataError(
            f"{file}: lacks {error.args[0]}, by our names; has {len(state)} other tensors, "
            f"{', '.join(sorted(state)[:5])}, ... Allowed: a released {release.method}. Name another release, or file"
        ) from None
    kind = resolve(METHODS[release.role], release.method, role=release.role)
    return with_settings(kind.Config, found, settings, release)


def take_unread(state: State, release: Release, config: Any) -> list[str]:
    """Take out of `state` what nothing reads; by our names."""
    beginnings = release.unread + (() if release.spare is None else release.spare(config))
    unread = [name for name in state if name.startswith(beginnings)]
    for name in unread:
        del state[name]
    return unread


def build(release: Release, config: Any, state: State, vocabulary: list[str], file: Path) -> nn.Module:
    """The model, once the file's tensors fit it in every name and shape."""
    model = resolve(METHODS[release.role], release.method, role=release.role)(config, vocabulary)
    expected = model.state_dict()
    check_words(state, len(byte_pair_ids(vocabulary)) if release.words == "byte_pairs" else len(vocabulary), file)
    add_counters(state, expected)
    check_names(state, dict(expected), path=file, what=f"a released {release.method}, by our names")
    return model


def check_words(state: State, tokens: int, file: Path) -> None:
    """Whether there are as many tokens as the word table has vectors.

    Raises:
        DataError: If it is not.
    """
    table = next((tensor for name, tensor in state.items() if name.endswith(WORD_TABLES)), None)
    if table is not None and len(table) != tokens:
        raise DataError(
            f"{file}: has vectors of {len(table)} tokens, and the token list has {tokens}, the "
            f"{len(SPECIAL)} special ones included. Name the annotation file of the set that it was trained on"
        )


def add_counters(state: State, expected: Mapping[str, torch.Tensor]) -> None:
    """Counters of BatchNorm, which evaluation does not read and old files lack, are zero where they are absent."""
    for name, tensor in expected.items():
        if name.endswith(".num_batches_tracked"):
            state.setdefault(name, torch.zeros_like(tensor, device="cpu"))


def with_settings(kind: Any, found: dict[str, Any], settings: Sequence[str], release: Release) -> Any:
    """The model's settings, from its tensors and from the user.

    Raises:
        ConfigError: If one is not `name=value`, unknown, or not allowed.
    """
    for setting in settings:
        path, equals, value = setting.partition("=")
        *parents, last = path.split(".")
        section = found
        for parent in parents:
            section = section.setdefault(parent, {}) if isinstance(section, dict) else section
        if not (equals and isinstance(section, dict)):
            raise ConfigError(f'--set is "{setting}". Allowed: name=value, such as text.length=20')
        section[last] = _read_value(value, setting)
    try:
        return TypeAdapter(kind).validate_python(found)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise ConfigError(
            f"{release.method}: {where} is {problem['input']!r}: {problem['msg']}. Give another --set"
        ) from None


def _read_value(text: str, setting: str) -> Any:
    try:
        return YAML(typ="safe").load(text)
    except YAMLError:
        raise ConfigError(f'--set is "{setting}", whose value is not YAML. Allowed: such as text.length=20') from None


def write_frozen(frozen: Carried, part: State, file: Path, folder: Path) -> Path:
    """Write a frozen model that the file carries as an import of its own file would be."""
    kind = resolve(REGISTRIES[frozen.registry], frozen.kind, role=frozen.registry)
    with tempfile.TemporaryDirectory() as scratch:
        alone = Path(scratch) / "model.safetensors"
        save_state(part, None, alone)
        config, state = kind.read_published(alone)
    model = kind(config)
    model.load_state_dict(state, strict=True)
    facts = {"kind": frozen.kind, "model": asdict(config), "from": file.name}
    save_checkpoint(model, folder, config=facts)
    return folder


def needed_frozen(model: Any, release: Release) -> list[str]:
    """Names of the frozen models that answers of such a model need."""
    encoders = ["detector", *stored_experts(model)] if release.role == "teacher" else []
    return [*encoders, "segmenter"]


def link_frozen(names: Sequence[str], weights: Path | None, out: Path) -> tuple[list[str], list[str]]:
    """Link frozen models that are not in `out` from the folder of frozen models; which are linked, which lacking."""
    linked, lacking = [], []
    for name in names:
        if (out / name / "config.json").exists():
            continue
        origin = None if weights is None else weights.resolve() / name
        if origin is None or not (origin / "config.json").exists():
            lacking.append(name)
            continue
        out.mkdir(parents=True, exist_ok=True)
        if (out / name).is_symlink():  # to a place that is gone
            (out / name).unlink()
        (out / name).symlink_to(origin)
        linked.append(name)
    return linked, lacking
