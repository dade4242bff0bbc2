"""Every name inside a work folder, but those of its journal (`layout_journal`) and of what
`fld dedup` found in it (`layout_dedup`).

No other file of `pipeline/` spells a name (a test checks that).

Names are relative to the work folder, with forward slashes:

    config.yaml                         the resolved settings of the last `fld run`
    head.json                           which round is the head, and every round that was attempted
    report.html                         the report
    export/coco/                        the labels of the head as COCO files (`fld label`)
    images/                             what ingest has brought in
        source.json                     which source the images come from, of a run with one
        sources/NAME.json               the same for each source of a run with several
        source_ids.json                 the source's own ids of its images and categories, if any
        source_ids/NAME.json            the same for each source of a run with several
        listing/NNNNNN.parquet          which shard each name of the source was assigned to
        SHARD.tar                       the images of a shard: `shard-NNNNNN`, or `NAME-NNNNNN`
                                        of a source that has a name
        SHARD.parquet                   one row per image of the source, also for those that failed
        given/SHARD.parquet             labels that the source gave
        truth/SHARD.parquet             labels that are known to be true
        manifests/                      one file per finished shard (in every folder of shards)
    reviews/SHARD.parquet               what people said of samples of the shard (`fld review`)
    reviews/chance.json                 how many boxes stood in reviewed samples picked by chance
    signals/STAGE-FINGERPRINT/          what one stage found
        SHARD.parquet
        manifests/
    rounds/NN-FINGERPRINT/              one round of labels
        records/SHARD.parquet           the records of a shard
        index.parquet/SHARD.parquet     where the samples of each shard lie
        shards/SHARD.tar                images and records, or records only (`rounds.images`), in
                                        the WebDataset convention
        manifests/
        parts.parquet                   what each shard holds: counts, first and last key
        metrics.json                    counts, rankings, and scores against truth
        statistics.json                 the paper's tables and histograms
        round.json                      the gate's verdict, and the models of the round
        audit.json                      precision by human judgement (`fld audit score`)
    summaries/NAME-FINGERPRINT/         counts of a round or of what a model said, which add up
        SHARD.json
        manifests/
    models/NN-FINGERPRINT/              a trained model, loads by `from_pretrained`
        metrics.jsonl                   loss and learning rate, one line per step
        manifests/
    dedup/                              what `fld dedup` found (`layout_dedup`)
    journal/                            about runs, not results (`layout_journal`)
"""

from __future__ import annotations

CONFIG = "config.yaml"
HEAD = "head.json"
REPORT = "report.html"
COCO_EXPORT = "export/coco"

IMAGES = "images"
REVIEWS = "reviews"
REVIEWED_BY_CHANCE = f"{REVIEWS}/chance.json"
SIGNALS = "signals"
ROUNDS = "rounds"
SUMMARIES = "summaries"
MODELS = "models"
DEDUP = "dedup"
STAGED = (SIGNALS, ROUNDS, SUMMARIES, MODELS, DEDUP)
"""Folders of folders: each folder in them is named by a fingerprint and has manifests."""

SOURCE = f"{IMAGES}/source.json"
SOURCES = f"{IMAGES}/sources"
SOURCE_IDS = f"{IMAGES}/source_ids.json"
LISTING = f"{IMAGES}/listing"

MODEL_SHARD = "model"
"""The only shard of a model's folder, so that a model has a manifest like everything else."""

STEM = "shard"
"""How the shards of the only source of a run begin. Those of a source that was given a name from
the beginning begin with that name."""
MANIFESTS = "manifests"
TABLE_SUFFIX = ".parquet"
TAR_SUFFIX = ".tar"
JSON_SUFFIX = ".json"


def shard_name(number: int, stem: str = STEM) -> str:
    """The name of shard `number` of a source; `stem` is the name of the source, if it has one."""
    return f"{stem}-{number:06d}"


def shard_number(shard: str) -> int:
    """The number in the name of a shard."""
    return int(shard.rpartition("-")[2])


def stem_of(shard: str) -> str:
    """How the shards of a source begin; `pipeline.storage.sources` says which source it is."""
    return shard.rpartition("-")[0]


def shard_of_table(file: str) -> str | None:
    """The shard of a table in a folder, None when the file is no table."""
    return file.removesuffix(TABLE_SUFFIX) if file.endswith(TABLE_SUFFIX) else None


def shard_of_tar(file: str) -> str | None:
    """The shard of a tar in a folder, None when the file is no tar."""
    return file.removesuffix(TAR_SUFFIX) if file.endswith(TAR_SUFFIX) else None


def manifests(folder: str) -> str:
    """The folder of the manifests of `folder`."""
    return f"{folder}/{MANIFESTS}"


def manifest(folder: str, name: str) -> str:
    """The manifest that is called `name` (`Manifest.name`)."""
    return f"{folder}/{MANIFESTS}/{name}"


def review_table(shard: str) -> str:
    """What people said of samples of a shard."""
    return _table(REVIEWS, shard)


# Images


def images_table(shard: str) -> str:
    """What ingest did with each image of a shard."""
    return _table(IMAGES, shard)


def images_tar(shard: str) -> str:
    """The images of a shard."""
    return tar_in(IMAGES, shard)


def given_table(shard: str) -> str:
    """The labels that the source gave for a shard."""
    return _table(f"{IMAGES}/given", shard)


def truth_table(shard: str) -> str:
    """The labels of a shard that are known to be true."""
    return _table(f"{IMAGES}/truth", shard)


def listing_table(number: int) -> str:
    """The listing's table `number`; each assignment of new names writes the next one."""
    return f"{LISTING}/{number:06d}{TABLE_SUFFIX}"


def in_listing(file: str) -> str:
    """A table of the listing by the name that it has in its folder."""
    return f"{LISTING}/{file}"


def is_table(file: str) -> bool:
    """Whether a file is a table."""
    return file.endswith(TABLE_SUFFIX)


def named_source(name: str) -> str:
    """Which source the images of a name come from."""
    return f"{SOURCES}/{name}{JSON_SUFFIX}"


def name_of_source(file: str) -> str:
    """The name of a source by the file of `named_source`, without its folder."""
    return file.removesuffix(JSON_SUFFIX)


def source_ids(stem: str = STEM) -> str:
    """A source's own ids of its images and categories."""
    return SOURCE_IDS if stem == STEM else f"{IMAGES}/source_ids/{stem}{JSON_SUFFIX}"


# Signals


def signals_folder(stage: str, fingerprint: str) -> str:
    """The folder of what a stage found with one recipe."""
    return f"{SIGNALS}/{stage}-{fingerprint}"


def named_signals(name: str) -> str:
    """The folder of the signals that are called `name` (STAGE-FINGERPRINT)."""
    return f"{SIGNALS}/{name}"


def signals_name(folder: str) -> str:
    """STAGE-FINGERPRINT of a folder of signals."""
    return folder.removeprefix(f"{SIGNALS}/")


def is_signals(folder: str) -> bool:
    """Whether a folder holds signals."""
    return folder.startswith(f"{SIGNALS}/")


def signals_table(folder: str, shard: str) -> str:
    """What a stage found in a shard."""
    return _table(folder, shard)


# Rounds


def round_folder(number: int, fingerprint: str) -> str:
    """The folder of a round."""
    return f"{ROUNDS}/{number:02d}-{fingerprint}"


def named_round(name: str) -> str:
    """The folder of the round that people call `name` (NN-FINGERPRINT)."""
    return f"{ROUNDS}/{name}"


def round_name(folder: str) -> str:
    """NN-FINGERPRINT of a round's folder."""
    return folder.removeprefix(f"{ROUNDS}/")


def is_round(folder: str) -> bool:
    """Whether a folder holds a round."""
    return folder.startswith(f"{ROUNDS}/")


def split_round(url: str) -> tuple[str, str] | None:
    """(work folder, folder of the round in it) of the URL of a round, None when it is none."""
    work, _, name = url.rstrip("/").rpartition(f"/{ROUNDS}/")
    return (work, named_round(name)) if work else None


def round_table(folder: str, shard: str) -> str:
    """The records of a shard."""
    return _table(within(folder, "records"), shard)


def round_shards(folder: str) -> str:
    """The folder of a round's tars. `folder` is "" if the store is the round's folder itself."""
    return within(folder, "shards")


def round_tar(folder: str, shard: str) -> str:
    """The records of a shard, with or without the images (`rounds.images`)."""
    return tar_in(round_shards(folder), shard)


def shard_index(folder: str, shard: str) -> str:
    """Where the samples of one shard lie."""
    return _table(round_index(folder), shard)


def round_index(folder: str) -> str:
    """The folder of the indices of all shards: a Parquet data set of many files."""
    return within(folder, "index.parquet")


def round_parts(folder: str) -> str:
    """What each shard of a round holds. `folder` "" as in `round_shards`."""
    return within(folder, "parts.parquet")


def round_metrics(folder: str) -> str:
    """Counts, changes, and scores against truth."""
    return within(folder, "metrics.json")


def round_statistics(folder: str) -> str:
    """The paper's tables and histograms of a round."""
    return within(folder, "statistics.json")


def round_state(folder: str) -> str:
    """The gate's verdict on a round, and the models of the round."""
    return within(folder, "round.json")


def round_audit(folder: str) -> str:
    """Precision of a round by human judgement."""
    return within(folder, "audit.json")


def tar_in(folder: str, shard: str) -> str:
    """The tar of a shard in any folder; "" is the work folder itself."""
    return within(folder, f"{shard}{TAR_SUFFIX}")


# Summaries


def summary_folder(name: str, fingerprint: str) -> str:
    """The folder of one summary of all shards."""
    return f"{SUMMARIES}/{name}-{fingerprint}"


def summary(folder: str, shard: str) -> str:
    """What was counted on a shard."""
    return within(folder, f"{shard}{JSON_SUFFIX}")


# Models


def model_folder(number: int, fingerprint: str) -> str:
    """The folder of a model that was trained for a round."""
    return f"{MODELS}/{number:02d}-{fingerprint}"


def model_metrics(folder: str) -> str:
    """What was measured at each step of a training."""
    return f"{folder}/metrics.jsonl"


def within(folder: str, name: str) -> str:
    """The name of a file or folder in `folder`; "" is the work folder itself."""
    return f"{folder}/{name}" if folder else name


def _table(folder: str, shard: str) -> str:
    return within(folder, f"{shard}{TABLE_SUFFIX}")
