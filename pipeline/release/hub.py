"""A data set repository of the Hugging Face Hub: what it holds, and errors in one line.

The Hub gives the digest of each file with its list of files: the sha256 of a large one (Git LFS),
the id of the Git blob of a small one. So nothing is downloaded to compare. Source:
https://huggingface.co/docs/huggingface_hub/package_reference/hf_api.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.errors import RunFailed

if TYPE_CHECKING:
    from huggingface_hub import HfApi

DATASET = "dataset"
"""The type of the repository."""
MAIN = "main"
"""The branch that a new repository has."""


class PushFailed(RunFailed):
    """The Hub, or the way to it, failed; nothing of the release is at fault."""


class HubUnreachable(PushFailed):
    """The Hub does not answer."""


class HubOffline(ValueError):
    """The user has set that the Hub is not to be asked."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of a repository."""

    size: int
    """In bytes."""
    blob: str
    """The id of its Git blob."""
    sha256: str
    """Empty for a file that is not in Git LFS."""

    def is_same(self, data: bytes) -> bool:
        """Whether it holds these bytes."""
        if self.sha256:
            return self.sha256 == hashlib.sha256(data).hexdigest()
        return self.blob == git_blob(data)


@dataclass(frozen=True, slots=True)
class Hub:
    """One repository."""

    api: HfApi
    repo: str
    """NAMESPACE/NAME."""

    def is_private(self) -> bool | None:
        """Whether only its owners see it, None if there is no such repository to be seen."""
        from huggingface_hub.errors import RepositoryNotFoundError

        try:
            info = self.api.repo_info(self.repo, repo_type=DATASET)
        except RepositoryNotFoundError:
            return None
        return bool(info.private)

    def tags(self) -> list[str]:
        """Its tags."""
        refs = self.api.list_repo_refs(self.repo, repo_type=DATASET)
        return [tag.name for tag in refs.tags]

    def branches(self) -> list[str]:
        """Its branches."""
        refs = self.api.list_repo_refs(self.repo, repo_type=DATASET)
        return [branch.name for branch in refs.branches]

    def files(self, revision: str) -> dict[str, RemoteFile]:
        """The files of a branch or tag by their names."""
        from huggingface_hub.hf_api import RepoFile

        tree = self.api.list_repo_tree(
            self.repo,
            recursive=True,
            revision=revision,
            repo_type=DATASET,
        )
        files = {}
        for entry in tree:
            if isinstance(entry, RepoFile):
                sha256 = entry.lfs.sha256 if entry.lfs else ""
                files[entry.path] = RemoteFile(entry.size, entry.blob_id, sha256)
        return files


def git_blob(data: bytes) -> str:
    """The id that Git gives to a file with these bytes (gitformat-loose, "blob")."""
    header = f"blob {len(data)}\0".encode()
    return hashlib.sha1(header + data, usedforsecurity=False).hexdigest()


@contextmanager
def hub_errors(repo: str) -> Iterator[None]:
    """Turn the errors of the Hub's library into one line that says what to do.

    Raises:
        ValueError: the token or the name of the repository is at fault.
        PushFailed: the network or the Hub is.
    """
    from huggingface_hub import errors

    try:
        yield
    except errors.LocalTokenNotFoundError as error:
        raise ValueError(NO_TOKEN) from error
    except errors.OfflineModeIsEnabled as error:
        raise HubOffline("HF_HUB_OFFLINE is set, so nothing can be pushed; unset it") from error
    except (errors.HTTPError, ConnectionError) as error:
        raise _failed(repo, error) from error
    except RuntimeError as error:
        if isinstance(error, RunFailed):
            raise
        # The upload of a large file wraps what has happened.
        raise _failed(repo, error.__cause__ or error) from error


NO_TOKEN = "no token of the Hugging Face Hub; run `hf auth login`, or set HF_TOKEN"


def _failed(repo: str, error: BaseException) -> Exception:
    """The error to show for one of the Hub's library: an answer that is no success, or none."""
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    if status is None:
        return HubUnreachable(f"the Hub cannot be reached ({error}); the same command resumes")
    if status == 401:
        return ValueError(
            f"{repo}: the Hub does not know the token, or there is no such repository (401); run "
            "`hf auth login`, or set HF_TOKEN"
        )
    if status == 403:
        return ValueError(
            f"{repo}: the token may not write there (403); take one with the right to write, or "
            "another repository"
        )
    if status == 404:
        return ValueError(f"{repo}: the Hub has no such repository or user (404); check the name")
    said = getattr(error, "server_message", None) or str(error)
    return PushFailed(f"{repo}: the Hub answered {status}: {said}; the same command resumes")
