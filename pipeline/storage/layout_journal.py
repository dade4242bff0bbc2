"""Every name inside the journal of a work folder, as `layout` has the others.

The journal is about runs, not results: clocks, hosts, work in progress. If it is lost, some work is
done again.

    journal/
        graph.json                      the nodes of the present run, in the order of work
        lease.json, lock                which driver works on this folder
        claims/BEFORE.json              who took over from the lease of this digest (object stores)
        progress.json                   how far the present step is
        tmp/                            files that are being written
        attempts/STAGE-FINGERPRINT/SHARD/ID.json    a worker has begun with the shard
        actors/GROUP/ID.json            what an actor does, and how long its stages take
        rates.json                      the same of earlier runs, added up by stage
        logs/STAGE/SHARD.log            why samples of a shard failed in a stage, with tracebacks
        withdrawn/FOLDER/SHARD.json     a manifest that was taken back
        changes/FOLDER/SHARD/BEFORE-AFTER.json      which samples changed between two outputs
        files/NNNNNN.parquet            size and time of the source's files when they came in
        files/NAME/NNNNNN.parquet       the same of a source that has a name
        measured/FOLDER/                results that take long to compute, also by source
        settings/FOLDER/config.yaml     the settings of the run that began a round
        train/FOLDER/step-NNNNNNNN      a checkpoint; `.done` behind the name marks a whole one
        seconds/FOLDER.json             how long the training of a study took
"""

from __future__ import annotations

from pipeline.storage.layout import CONFIG, JSON_SUFFIX, STEM, TABLE_SUFFIX, within

JOURNAL = "journal"
GRAPH = f"{JOURNAL}/graph.json"
LEASE = f"{JOURNAL}/lease.json"
LOCK = f"{JOURNAL}/lock"
CLAIMS = f"{JOURNAL}/claims"
PROGRESS = f"{JOURNAL}/progress.json"
TEMPORARY = f"{JOURNAL}/tmp"
ATTEMPTS = f"{JOURNAL}/attempts"
ACTORS = f"{JOURNAL}/actors"
RATES = f"{JOURNAL}/rates.json"
LOGS = f"{JOURNAL}/logs"
WITHDRAWN = f"{JOURNAL}/withdrawn"
CHANGES = f"{JOURNAL}/changes"
MEASURED = f"{JOURNAL}/measured"
SOURCE_FILES = f"{JOURNAL}/files"
CHECKPOINTS = f"{JOURNAL}/train"
SETTINGS = f"{JOURNAL}/settings"
JOURNALS_BY_FOLDER = (WITHDRAWN, CHANGES, MEASURED, CHECKPOINTS, SETTINGS)
"""Parts of the journal that repeat the tree of the folders they are about."""


def source_files(stem: str = STEM) -> str:
    """The folder of the sizes and times of the files of a source; that of `STEM` holds the others.

    `stem` is how its shards begin, as in all functions of one source.
    """
    return SOURCE_FILES if stem == STEM else within(SOURCE_FILES, stem)


def source_files_table(number: int, stem: str = STEM) -> str:
    """Table `number` of the sizes and times of a source's files."""
    return f"{source_files(stem)}/{number:06d}{TABLE_SUFFIX}"


def in_source_files(file: str, stem: str = STEM) -> str:
    """Such a table by the name that it has in its folder."""
    return f"{source_files(stem)}/{file}"


def round_settings(folder: str) -> str:
    """The settings of the run that began a round. Those of `CONFIG` may be of a later run."""
    return f"{SETTINGS}/{folder}/{CONFIG}"


def checkpoints(folder: str) -> str:
    """The folder of the checkpoints of the training that makes model `folder`."""
    return f"{CHECKPOINTS}/{folder}"


def checkpoint_name(step: int) -> str:
    """The name of a checkpoint within `checkpoints`."""
    return f"step-{step:08d}"


def checkpoint_mark(checkpoint: str) -> str:
    """The empty file that says that a checkpoint is whole."""
    return f"{checkpoint}.done"


def marked_checkpoint(file: str) -> str | None:
    """The checkpoint that a file marks as whole, None when the file is no mark."""
    return file.removesuffix(".done") if file.endswith(".done") else None


def study_seconds(folder: str) -> str:
    """How long the training of a study's model took."""
    return f"{JOURNAL}/seconds/{folder}{JSON_SUFFIX}"


def claim(before: str) -> str:
    """Who takes over from the lease with this digest."""
    return f"{CLAIMS}/{before}{JSON_SUFFIX}"


def attempts(work: str, shard: str = "") -> str:
    """The folder of the marks of a stage's started work, or of those of one shard."""
    return f"{ATTEMPTS}/{work}/{shard}".rstrip("/")


def attempt(work: str, shard: str, mark: str) -> str:
    """One mark; `mark` is a file name."""
    return f"{ATTEMPTS}/{work}/{shard}/{mark}"


def actors(group: str) -> str:
    """The folder of what the actors of a group do."""
    return f"{ACTORS}/{group}"


def actor(group: str, name: str) -> str:
    """What one actor does."""
    return f"{ACTORS}/{group}/{name}{JSON_SUFFIX}"


def log(stage: str, shard: str) -> str:
    """Why samples of a shard failed in a stage."""
    return f"{LOGS}/{stage}/{shard}.log"


def withdrawn(folder: str, shard: str) -> str:
    """A manifest of `folder` that was taken back."""
    return f"{WITHDRAWN}/{folder}/{shard}{JSON_SUFFIX}"


def changes(folder: str, shard: str) -> str:
    """The folder of what changed in a shard from one output to the next."""
    return f"{CHANGES}/{folder}/{shard}"


def change(folder: str, shard: str, before: str, after: str) -> str:
    """Which samples changed between two outputs of a shard, by their digests."""
    return f"{changes(folder, shard)}/{before}-{after}{JSON_SUFFIX}"


def parse_change(file: str) -> tuple[str, str]:
    """(output before, output after) of a file name in `changes`."""
    before, after = file.removesuffix(JSON_SUFFIX).split("-")
    return before, after


def measured_total(folder: str, stem: str = "") -> str:
    """The sum of all summaries in `folder`, kept so that a finished run need not read them.

    With `stem` the sum of those of the shards that begin so, which are those of one source.
    """
    name = f"total-{stem}" if stem else "total"
    return f"{MEASURED}/{folder}/{name}{JSON_SUFFIX}"
