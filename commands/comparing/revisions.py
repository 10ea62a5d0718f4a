"""One side of a comparison: what a commit, or the working tree, holds of results. Nothing is checked out."""

import io
import json
import os
from functools import cached_property
from typing import Any, cast

import pandas as pd
import pyarrow.parquet as pq
from dvc.api import DVCFileSystem
from dvc.exceptions import DvcException
from dvc.scm import SCMError
from ruamel.yaml import YAML

from deixis.core.errors import ConfigError, DataError
from deixis.core.foreign import first_words, foreign_bytes

SAMPLES, HEADLINES = "reports/samples", "reports/headlines"
RESULTS = "They are made by dvc repro, listed in dvc.lock, which is to be committed, and shared by dvc push"
Predictor = tuple[str, str]  # dataset and predictor's id


class Revision:
    """Files of a commit or of the working tree: from the tree itself, DVC's cache, or its remote, in this order.

    Its `label` is what it was called by, with the commit's short name.

    Args:
        name: Anything that Git resolves to a commit; the working tree by default.

    Raises:
        ConfigError: If there is no such commit, or no repository of Git and DVC here.
    """

    def __init__(self, name: str | None = None) -> None:
        self._files = DVCFileSystem(rev=name)
        try:
            self._repo = self._files.repo
            self.label, self.message = ("the working tree", "") if name is None else self._named(name)
        except (DvcException, SCMError) as error:
            raise ConfigError(
                f"{name or 'the working tree'}: no commit that can be read here: {first_words(error)}. Name a commit, "
                "a branch or a tag (git log --oneline), inside the checkout. Where the history is cut short, as in CI: "
                "git fetch --unshallow"
            ) from None

    def _named(self, name: str) -> tuple[str, str]:
        commit = self._repo.scm.resolve_commit(name)
        short = commit.hexsha[:7]
        message = commit.message.strip().partition("\n")[0]
        return short if commit.hexsha.startswith(name) else f"{name} ({short})", message

    @property
    def title(self) -> str:
        """The name with the first line of the commit's message."""
        return f"{self.label}: {self.message}" if self.message else self.label

    def read(self, path: str) -> bytes:
        """A file's content.

        Raises:
            FileNotFoundError: If it is not there, or DVC knows its checksum and finds it nowhere.
        """
        with self._files.open(f"/{path}", "rb") as stream:
            return cast(bytes, stream.read())

    def json(self, path: str) -> Any:
        """Parsed JSON; nothing where there is no such file."""
        with foreign_bytes(f"{path} of {self.label}", "valid JSON", "Run: dvc repro, and commit"):
            try:
                return json.loads(self.read(path))
            except FileNotFoundError:
                return None

    def yaml(self, path: str) -> dict[str, Any]:
        """Parsed YAML; nothing in it where there is no such file."""
        with foreign_bytes(f"{path} of {self.label}", "valid YAML", "Fix it, and commit"):
            try:
                return YAML(typ="safe").load(io.BytesIO(self.read(path))) or {}
            except FileNotFoundError:
                return {}

    @cached_property
    def lock(self) -> dict[str, Any]:
        """Stages of dvc.lock, by name."""
        return self.yaml("dvc.lock").get("stages", {})

    @cached_property
    def predictors(self) -> dict[Predictor, str]:
        """Paths of the per-phrase tables that this side has: on disk, or by a checksum in its dvc.lock.

        Raises:
            DataError: If it has none.
        """
        found: dict[Predictor, str] = {}
        for out in self._repo.index.outs:
            path = os.path.relpath(out.fs_path, self._repo.root_dir).replace(os.sep, "/")
            dataset, name = path.removeprefix(f"{SAMPLES}/").rpartition("/")[::2]
            if path.startswith(f"{SAMPLES}/") and ((out.hash_info and out.hash_info.value) or out.exists):
                found[dataset, name.removesuffix(".parquet")] = path
        if not found:
            raise DataError(f"{self.label}: holds no results, no table under {SAMPLES}. {RESULTS}")
        return found

    @cached_property
    def has_headlines(self) -> bool:
        """Whether its results were made since there are headline files."""
        outs = [out["path"] for stage in self.lock.values() for out in stage.get("outs", [])]
        return any(path.startswith(f"{HEADLINES}/") for path in outs)

    def table(self, path: str, columns: tuple[str, ...], optional: tuple[str, ...] = ()) -> pd.DataFrame:
        """Columns of a Parquet file.

        Raises:
            DataError: If it was never made available here, is damaged, or lacks a column.
        """
        where = f"{path} of {self.label}"
        lost = "Its dvc.lock lists it, and neither the cache nor the remote has it. Run where it was made: dvc push"
        with foreign_bytes(where, "a whole Parquet file", "Run: dvc repro -f evaluate_teacher", missing=lost):
            file = pq.ParquetFile(io.BytesIO(self.read(path)))
            names = file.schema_arrow.names
            if missing := [column for column in columns if column not in names]:
                raise DataError(
                    f"{where}: lacks {', '.join(missing)}; has {', '.join(names)}. It was made by another version; "
                    "compare with a later commit, or rebuild that one: dvc repro; then commit"
                )
            return file.read(columns=[*columns, *(name for name in optional if name in names)]).to_pandas()
