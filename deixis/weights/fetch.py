"""Download published weights, where there is a network; nothing stays that is not what its card says."""

import http.client
import os
import sys
import tempfile
import zipfile
from pathlib import Path
from shutil import copyfileobj

from deixis.core.errors import DataError
from deixis.core.records import file_sha256
from deixis.weights.cards import Archive, Card, WeightFile
from deixis.weights.locate import by_hand, fetchable, file_state, read_pins, write_pins

MOST_UNPACKED = 100  # times the size of the archive; text of numbers packs to a third


def fetch(card: Card, folder: Path) -> list[Path]:
    """Download the files of a card that are not there yet; returns what is new.

    A file that lies there with a wrong checksum is left alone: it may be the user's.

    Raises:
        DataError: If a file cannot be had, or is not what was published; says which file to put where.
    """
    new = []
    for file in card.files:
        state = file_state(file, folder, read_pins(folder))
        if state == "wrong checksum":
            raise DataError(
                f"{folder / file.name}: has another checksum than published or pinned. Move it away or delete it, "
                f"then run: deixis weights fetch {card.name}"
            )
        if state == "missing":
            new.append(_fetch_file(card, file, folder))
    return new


def _fetch_file(card: Card, file: WeightFile, folder: Path) -> Path:
    path = folder / file.name
    if not fetchable(card, file):
        raise DataError(f"{card.name}: is published without an address of its own: {by_hand(card, folder)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".fetch-") as scratch:
        try:
            got = _download(card, file, Path(scratch))
        except (OSError, http.client.HTTPException) as error:
            reason = next(iter(str(error).splitlines()), "") or type(error).__name__
            raise DataError(
                f"{card.name}: could not be fetched ({reason}). Try again, or on another machine "
                f"{by_hand(card, folder)}"
            ) from None
        digest = file_sha256(got)
        _refuse_other(card, file.name, digest, known=file.sha256 or file.sha256_prefix)
        os.replace(got, path)
    if file.archive and file.archive.sha256 and not file.sha256:  # it came out of a file that is known
        write_pins(read_pins(folder) | {file.name: digest}, folder)
    return path


def _download(card: Card, file: WeightFile, scratch: Path) -> Path:
    """Bring one file into `scratch`, by whichever way its card names."""
    name = Path(file.name).name
    if file.archive:
        packed = _from_address(file.archive.url, scratch / "archive.zip")
        return _unpack(card, file.archive, packed, member=name)
    if file.url:
        return _from_address(file.url, scratch / name)
    assert card.hub
    return _from_hub(card.hub, name, revision=card.revision, scratch=scratch)


def _from_address(url: str, path: Path) -> Path:
    from torch.hub import download_url_to_file  # torch takes seconds to import

    download_url_to_file(url, str(path), progress=sys.stderr.isatty())
    return path


def _from_hub(model: str, name: str, *, revision: str | None, scratch: Path) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    try:
        return Path(hf_hub_download(model, name, revision=revision, local_dir=scratch))
    except EntryNotFoundError as error:  # not an OSError in every version
        raise OSError(str(error)) from None


def _unpack(card: Card, archive: Archive, packed: Path, *, member: str) -> Path:
    """Take one file out of a zip file, by its name alone: no path in the archive decides where it goes."""
    _refuse_other(card, archive.url, file_sha256(packed), known=archive.sha256)
    path = packed.with_name(member)
    try:
        with zipfile.ZipFile(packed) as zipped:
            inside = [entry for entry in zipped.infolist() if entry.filename.rsplit("/", 1)[-1] == member]
            if len(inside) != 1:
                raise DataError(f"{archive.url}: holds {len(inside)} files named {member}, expected one.")
            if inside[0].file_size > MOST_UNPACKED * packed.stat().st_size:  # reading stops at the size stated here
                raise DataError(
                    f"{archive.url}: {member} would be {inside[0].file_size} bytes, over {MOST_UNPACKED} times the "
                    f"archive. Nothing was unpacked; see {card.source}."
                )
            with zipped.open(inside[0]) as source, path.open("wb") as target:
                copyfileobj(source, target, 1 << 20)
    except zipfile.BadZipFile as error:
        raise DataError(f"{archive.url}: not a whole zip file ({error}). Fetch it again.") from None
    return path


def _refuse_other(card: Card, what: str, sha256: str, *, known: str | None) -> None:
    if not sha256.startswith(known or ""):
        raise DataError(
            f"{what}: what arrived has SHA-256 {sha256}, published is {known}. Nothing was kept. The publisher may "
            f"have replaced it: see {card.source}."
        )
