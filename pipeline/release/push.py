"""`fld release push`: a verified release as a data set repository on the Hugging Face Hub.

Files go up in commits of at most `FILES_PER_COMMIT`, large ones through Git LFS or Xet, as the Hub
wants it. Each run lists what the Hub has and sends the rest, so a killed push goes on where it was;
of a commit that was not finished, the Hub keeps the large files. `upload_large_folder` of
huggingface_hub is not used: it writes its journal into the folder, so that the release would not
verify any more, and it tries again for ever whatever the error is.

`SHA256SUMS` comes with the last commit, and is taken away by the first, so on the Hub, too, its
presence marks a whole release. Last the version becomes a tag, which is never moved.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from pipeline.release.hub import DATASET, MAIN, NO_TOKEN, Hub, PushFailed, RemoteFile, hub_errors
from pipeline.release.push_plan import LAST, LocalRelease, Plan
from pipeline.release.verify import Advance
from pipeline.storage.layout_release import CHECKSUMS, FACTS

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    Operations = list[CommitOperationAdd | CommitOperationDelete]

# A commit of too many files may time out, and the Hub limits how many commits an hour it takes.
FILES_PER_COMMIT = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a release goes."""

    repo: str
    """NAMESPACE/NAME."""
    revision: str = MAIN
    """The branch."""
    is_private: bool = False
    """Whether the repository must be seen by its owners only."""

    def check(self) -> None:
        """Check the name of the repository.

        Raises:
            ValueError: it is none.
        """
        from huggingface_hub.utils import validate_repo_id

        if self.repo.count("/") != 1:
            raise ValueError(f"{self.repo}: give the repository as NAMESPACE/NAME")
        validate_repo_id(self.repo)


def check_token(api: HfApi) -> None:
    """Check that there is a token: that of `api`, of the environment or of a login.

    Raises:
        ValueError: there is none.
    """
    from huggingface_hub import get_token

    if api.token is None and get_token() is None:
        raise ValueError(NO_TOKEN)


class Push:
    """One push of a whole release."""

    def __init__(
        self,
        release: LocalRelease,
        target: Target,
        api: HfApi,
    ) -> None:
        self.release = release
        self.target = target
        self.hub = Hub(api, target.repo)

    def plan(self) -> Plan:
        """Compare the release with what the Hub has; changes nothing.

        Raises:
            ValueError: the Hub has this version with other checksums, or the repository is public.
            PushFailed: the Hub failed, or cannot be reached.
        """
        with hub_errors(self.target.repo):
            return self._plan()

    def run(self, advance: Advance) -> Plan:
        """Upload what is missing, and tag it; `advance` is called with the files done and in all.

        Raises:
            ValueError: as `plan`, or the token may not write.
            PushFailed: as `plan`.
        """
        with hub_errors(self.target.repo):
            plan = self._plan()
            if plan.is_done:
                return plan
            self._open(plan)
            for number, operations in enumerate(self._commits(plan), 1):
                self._commit(operations, number)
                advance(min(number * FILES_PER_COMMIT, len(plan.uploads)), len(plan.uploads))
            self._check_arrived()
            self.hub.api.create_tag(
                self.target.repo,
                tag=self.release.version,
                revision=self.target.revision,
                repo_type=DATASET,
            )
        return plan

    def _plan(self) -> Plan:
        is_private = self.hub.is_private()
        if is_private is None:
            return self.release.plan({}, is_new=True)
        if self.target.is_private and not is_private:
            raise ValueError(
                f"{self.target.repo}: is public, but --private was asked for; make it private in "
                "its settings, or give another repository"
            )
        if self.release.version in self.hub.tags():
            self._check_same(self.hub.files(self.release.version))
            return self.release.plan({}, is_done=True)
        if self.target.revision not in self.hub.branches():
            # The new branch begins as a copy.
            return self.release.plan(self.hub.files(MAIN))
        files = self.hub.files(self.target.revision)
        if CHECKSUMS in files and self._version_there() == self.release.version:
            self._check_same(files)
        return self.release.plan(files)

    def _check_same(self, there: dict[str, RemoteFile]) -> None:
        """Check that the version on the Hub is this one.

        Raises:
            ValueError: it has other checksums.
        """
        if self.release.differs(CHECKSUMS, there):
            raise ValueError(
                f"{self.target.repo}: holds version {self.release.version} with other checksums; a "
                "version that is out never changes, so build another one"
            )

    def _version_there(self) -> str:
        """The version of the whole release on the branch."""
        with TemporaryDirectory() as folder:
            path = self.hub.api.hf_hub_download(
                self.target.repo,
                FACTS,
                repo_type=DATASET,
                revision=self.target.revision,
                local_dir=folder,
            )
            return str(json.loads(Path(path).read_bytes()).get("version"))

    def _open(self, plan: Plan) -> None:
        """Make the repository and the branch if they are not there."""
        private = True if self.target.is_private else None
        if plan.is_new:
            self.hub.api.create_repo(self.target.repo, repo_type=DATASET, private=private)
        if self.target.revision != MAIN:
            self.hub.api.create_branch(
                self.target.repo,
                branch=self.target.revision,
                repo_type=DATASET,
                exist_ok=True,
            )

    def _commits(self, plan: Plan) -> Iterator[Operations]:
        """The operations of each commit."""
        from huggingface_hub import CommitOperationDelete

        last = [name for name in plan.uploads if name in LAST]
        parts = plan.uploads[: len(plan.uploads) - len(last)]
        # What is on the Hub stops to be a whole release with the first commit.
        is_marked = CHECKSUMS in self.hub.files(self.target.revision)
        for start in range(0, len(parts), FILES_PER_COMMIT):
            operations = self._adds(parts[start : start + FILES_PER_COMMIT])
            if is_marked:
                operations.append(CommitOperationDelete(CHECKSUMS))
                is_marked = False
            yield operations
        deletions = [CommitOperationDelete(name) for name in plan.deletions]
        if last or deletions:
            yield [*self._adds(last), *deletions]

    def _adds(self, names: Sequence[str]) -> Operations:
        """The operations that add some files of the release."""
        from huggingface_hub import CommitOperationAdd

        operations: Operations = []
        for name in names:
            path = os.fspath(self.release.folder / name)
            operations.append(CommitOperationAdd(name, path))
        return operations

    def _commit(self, operations: Operations, number: int) -> None:
        self.hub.api.create_commit(
            self.target.repo,
            operations,
            commit_message=f"Version {self.release.version}, part {number}",
            repo_type=DATASET,
            revision=self.target.revision,
        )

    def _check_arrived(self) -> None:
        """Check that the branch is the release.

        Raises:
            PushFailed: it is not, for instance because someone else writes there, too.
        """
        left = self.release.plan(self.hub.files(self.target.revision))
        if left.uploads or left.deletions:
            raise PushFailed(
                f"{self.target.repo}: {len(left.uploads)} files have not arrived; the same command "
                "resumes"
            )
