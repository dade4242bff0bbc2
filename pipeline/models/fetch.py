"""Fetch models into the cache of huggingface_hub: at a commit, safetensors only, and resumable.

Since 2.0 `huggingface_hub` begins a broken download anew. So the bytes of each file are fetched
here, with the library's own request, into the place where the library would put them
(`blobs/DIGEST.incomplete`), from the byte on that is missing. When the file is whole and has its
digest, it is renamed, and the library makes the folder of the commit from it.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import RunFailed
from pipeline.models.catalogue import Published, in_words
from pipeline.models.state import PARTIAL, file_path, is_content
from stages.checkpoints import WEIGHTS, WEIGHTS_INDEX
from stages.hub import HubModel, cache_folder

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoSibling

# What a model needs besides its weights, and what says who may use it.
SMALL_SUFFIXES = (".json", ".txt", ".model", ".jinja", ".md")
SMALL_NAMES = ("LICENSE", "NOTICE")
SHARD = re.compile(r"model-\d+-of-\d+\.safetensors")
# Left free on the disk.
SPARE_BYTES = 10**8


class FetchFailed(RunFailed):
    """The hub, or the way to it, failed."""


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a model on the hub."""

    name: str
    size: int
    """In bytes."""
    digest: str
    """The sha256 of a large file, the id of the Git blob of a small one."""


def fetch_model(model: HubModel, api: HfApi | None = None) -> int:
    """Fetch what is missing of a model; how many bytes came.

    Raises:
        ValueError: the hub has no such model or commit, or the model has no safetensors.
        FetchFailed: the network or the disk failed; the same command goes on from there.
    """
    from huggingface_hub import HfApi, hf_hub_download, hf_hub_url

    api = api or HfApi()
    fetched = 0
    with _one_line(f"{model.repo}@{model.revision[:8]}"):
        files = _needed(model, _listed(api, model))
        _check_room(files, model)
        for file in files:
            blob = model.repo_folder / "blobs" / file.digest
            url = hf_hub_url(model.repo, file.name, revision=model.revision, endpoint=api.endpoint)
            fetched += _fetch(url, blob, file, api.token)
            hf_hub_download(
                model.repo,
                file.name,
                revision=model.revision,
                cache_dir=cache_folder(),
                endpoint=api.endpoint,
                token=api.token,
            )
    return fetched


def fetch_file(name: str, published: Published) -> int:
    """Fetch a single file of the catalogue; how many bytes came.

    Raises:
        FetchFailed: the network or the disk failed; the same command goes on from there.
    """
    path = file_path(name)
    file = HubFile(name, published.bytes, published.sha256)
    # With the address people can get it in another way, as where a proxy stands between.
    with _one_line(f"{name} from {published.url}"):
        return _fetch(published.url, path, file, False)


def newest_commit(repo: str, api: HfApi | None = None) -> str:
    """The commit that the main branch of a repository has now.

    Raises:
        ValueError: the hub has no such model.
        FetchFailed: the network failed.
    """
    from huggingface_hub import HfApi

    with _one_line(repo):
        return str((api or HfApi()).model_info(repo).sha)


def _listed(api: HfApi, model: HubModel) -> list[HubFile]:
    """The files of a commit."""
    info = api.model_info(model.repo, revision=model.revision, files_metadata=True)
    return [_hub_file(sibling) for sibling in info.siblings or []]


def _hub_file(sibling: RepoSibling) -> HubFile:
    digest = sibling.lfs.sha256 if sibling.lfs else sibling.blob_id
    return HubFile(sibling.rfilename, sibling.size or 0, str(digest))


def _needed(model: HubModel, files: Sequence[HubFile]) -> list[HubFile]:
    """The files that a model is loaded from, the small ones first.

    Raises:
        ValueError: there are no safetensors among them.
    """
    # Folders hold the same weights for other programs (ONNX, Core ML).
    top = {file.name: file for file in files if "/" not in file.name}
    if WEIGHTS in top:
        # An index beside it names the parts of the same weights, which are not fetched.
        top.pop(WEIGHTS_INDEX, None)
        weights = [top[WEIGHTS]]
    else:
        weights = [file for file in top.values() if SHARD.fullmatch(file.name)]
    if not weights:
        raise ValueError(
            f"{model.repo}: it has no {WEIGHTS} at {model.revision[:8]}; only safetensors are "
            "taken, because other weights can hold code"
        )
    small = [file for file in top.values() if _is_small(file.name)]
    return small + weights


def _is_small(name: str) -> bool:
    """Whether a file belongs to a model besides its weights."""
    return name.endswith(SMALL_SUFFIXES) or name.startswith(SMALL_NAMES)


def _check_room(files: Sequence[HubFile], model: HubModel) -> None:
    """Check that the disk has room for what is missing.

    Raises:
        FetchFailed: it has not.
    """
    blobs = model.repo_folder / "blobs"
    missing = 0
    for file in files:
        if not (blobs / file.digest).exists():
            missing += file.size
    cache_folder().mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(cache_folder()).free
    if missing > free - SPARE_BYTES:
        raise FetchFailed(
            f"{model.repo}: {in_words(missing)} are missing, and the disk of {cache_folder()} has "
            f"{in_words(free)}; make room, or give cluster.models=DIR on another disk"
        )


def _fetch(url: str, path: Path, file: HubFile, token: str | bool | None) -> int:
    """Fetch one file to its place, from the byte on that is missing; how many bytes came.

    Raises:
        FetchFailed: what came is not the file.
    """
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import WeakFileLock, build_hf_headers

    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + PARTIAL)
    with WeakFileLock(f"{partial}.lock"):
        if path.exists():
            if is_content(path, file.digest):
                return 0
            path.unlink()
        begin = partial.stat().st_size if partial.exists() else 0
        if begin > file.size:
            partial.unlink()
            begin = 0
        if begin < file.size or not file.size:
            with open(partial, "ab") as sink, _quiet():
                http_get(
                    url,
                    sink,
                    resume_size=begin,
                    headers=build_hf_headers(token=token),
                    expected_size=file.size,
                    displayed_filename=file.name,
                )
        if not is_content(partial, file.digest):
            partial.unlink()
            raise FetchFailed(
                f"{file.name}: what came is not the file that was published (its digest is "
                "another one); it was removed, the same command fetches it again"
            )
        os.replace(partial, path)
    Path(f"{partial}.lock").unlink(missing_ok=True)
    return file.size - begin


@contextmanager
def _quiet() -> Iterator[None]:
    """No bar of the library where nobody sees it."""
    from huggingface_hub.utils import disable_progress_bars, enable_progress_bars

    if sys.stderr.isatty():
        yield
        return
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


@contextmanager
def _one_line(what: str) -> Iterator[None]:
    """Turn the errors of the hub's library into one line that says what to do.

    Raises:
        ValueError: the hub has no such model or commit, or the user may not have it.
        FetchFailed: the network or the hub is at fault.
    """
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError as error:
        raise ValueError(
            f"{what}: its makers ask for their consent: accept on its page, then `hf auth login`"
        ) from error
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        raise ValueError(f"{what}: the hub has no such model or commit") from error
    except errors.OfflineModeIsEnabled as error:
        raise ValueError("HF_HUB_OFFLINE is set, so nothing is fetched; unset it") from error
    except (errors.HTTPError, ConnectionError, OSError) as error:
        if isinstance(error, RunFailed):
            raise
        reason = str(error).partition("\n")[0]
        raise FetchFailed(
            f"{what}: cannot be fetched ({reason}); the same command goes on from there"
        ) from error
