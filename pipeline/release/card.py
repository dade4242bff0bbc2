"""The card of a release: `README.md` with the header that the Hugging Face Hub reads.

It is made of the facts and the counts of a release alone, so that every number in it can be
counted again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import yaml

from pipeline.quality.tables import markdown
from pipeline.release.facts import Facts
from pipeline.release.safety import checked, unchecked
from pipeline.release.statistics import FLAGS, SAMPLES, Totals
from pipeline.schema import KINDS
from pipeline.storage import layout_release
from pipeline.storage.json_types import Json

# The Hub knows licences by these names in small letters; others are `other` there.
HUB_LICENCES = frozenset(
    (
        *("apache-2.0", "mit", "cc", "cc0-1.0", "bsd", "bsd-2-clause", "bsd-3-clause"),
        *("cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0"),
        *("cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nd-4.0", "cc-by-nc-nd-3.0"),
        *("cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "odbl"),
        *("pddl", "odc-by", "cdla-permissive-1.0", "cdla-permissive-2.0", "cdla-sharing-1.0"),
    )
)
TASKS = ("object-detection", "image-segmentation", "image-to-text", "zero-shot-object-detection")
# The Hub's classes of size: the first number of samples that is too large for a class.
SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
    (100_000_000, "10M<n<100M"),
    (1_000_000_000, "100M<n<1B"),
)
LIMITS = (
    "Most labels were made by models and filtered by rules; nobody has looked at each of them. "
    "The precision above is what is known of their quality.",
    "Boxes and texts share the biases of the models that made them, and of the pictures that the "
    "sources offer.",
    "An object without a box is no proof that the object is absent: specialists miss things.",
)

# The heading of the section with lines of code that load a release.
USAGE = "## How to read it"


def card(facts: Facts, totals: Totals) -> str:
    """The text of the card."""
    parts = [
        f"---\n{_header(facts, totals)}---",
        f"# {facts.title}",
        facts.description,
        _summary(facts, totals),
        "## Splits",
        _splits(totals),
        "## How it was made",
        _rounds(facts),
        _makers(totals),
        "## Quality",
        _quality(facts),
        "## Checks, and what is left out",
        _checks(facts, totals),
        _removed(totals),
        "## Licences",
        _licences(facts, totals),
        "## Known limits",
        _list([*LIMITS, unchecked(facts.checks.safety)]),
        USAGE,
        _usage(facts, totals),
        "## Statistics",
        _statistics(facts, totals),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def hub_licences(facts: Facts) -> list[str]:
    """The licences of all sources by their names on the Hub."""
    names = set()
    for terms in facts.sources.values():
        name = terms.licence.lower()
        names.add(name if name in HUB_LICENCES else "other")
    return sorted(names)


def _header(facts: Facts, totals: Totals) -> str:
    """The YAML header."""
    images = totals["annotations"]["images"]
    size = next((name for limit, name in SIZES if images < limit), "n>1T")
    header: Json = {
        "pretty_name": facts.title,
        "license": hub_licences(facts),
        "language": [facts.language],
        "task_categories": list(TASKS),
        "size_categories": [size],
        "tags": ["florence-2", "fld-5b", "croissant"],
        "configs": list(_configs(totals)),
    }
    if len(header["license"]) == 1:
        header["license"] = header["license"][0]
    if "other" in hub_licences(facts):
        header["license_name"] = "see-the-table-of-licences"
    return yaml.safe_dump(header, sort_keys=False, allow_unicode=True)


def _configs(totals: Totals) -> Iterator[Json]:
    """The tables as `datasets.load_dataset(FOLDER, NAME)` finds them.

    The tars cannot be among them: `datasets` reads all files of a folder in one way. Nor can a
    split without rows, which it refuses.
    """
    parts: dict[str, Iterable[str]] = {
        layout_release.OBJECTS: (SAMPLES,),
        layout_release.ANNOTATIONS: KINDS,
        layout_release.INDEX: (SAMPLES,),
        layout_release.LINEAGE: KINDS,
        layout_release.FLAGS: (FLAGS,),
    }
    for part, counted in parts.items():
        files = []
        for split, counts in totals["splits"].items():
            if any(counts.get(name) for name in counted):
                path = layout_release.files_of_split(part, split)
                files.append({"split": split, "path": path})
        config: Json = {"config_name": part, "data_files": files}
        if part == layout_release.OBJECTS:
            config["default"] = True
        if files:
            yield config


def _summary(facts: Facts, totals: Totals) -> str:
    counts = totals["annotations"]["annotations"]
    images = totals["annotations"]["images"]
    what = "images" if facts.images == "include" else "references to images (name and sha256)"
    return (
        f"Version {facts.version}. {images:,} {what} with {counts['total']:,} annotations: "
        f"{counts['text']:,} texts, {counts['region_text']:,} texts of regions, "
        f"{counts['text_phrase_region']:,} pairs of a phrase and a box; and "
        f"{totals['annotations']['text_regions']:,} strings written in the images. Labelled the "
        "way FLD-5B was labelled (Florence-2, arXiv 2311.06242)."
    )


def _splits(totals: Totals) -> str:
    columns = (SAMPLES, *KINDS)
    rows = []
    for split, counts in totals["splits"].items():
        row = [split]
        for name in columns:
            row.append(f"{counts[name]:,}")
        rows.append(row)
    return _table(["split", *columns], rows)


def _rounds(facts: Facts) -> str:
    rows = []
    for fact in facts.rounds:
        mark = " (released)" if fact.round == facts.round else ""
        rows.append([fact.round + mark, fact.model or "-", fact.status, fact.reason or "-"])
    text = (
        "Specialists annotate the images, filters drop what is doubtful (round 0). In each further "
        "round, a model is trained on the labels, annotates all images, and the two are merged. "
        f"This is round {facts.round}."
    )
    return f"{text}\n\n{_table(['round', 'model', 'status', 'reason'], rows)}"


def _makers(totals: Totals) -> str:
    rows = []
    for maker in totals["makers"]:
        model = maker["model"] or "-"
        revision = f"`{maker['revision']}`" if maker["revision"] else "-"
        rows.append([maker["stage"], model, revision, f"{maker['annotations']:,}"])
    return _table(["stage", "model", "revision", "annotations"], rows)


def _quality(facts: Facts) -> str:
    parts = []
    if facts.audit:
        rows = []
        for row in facts.audit:
            interval = f"{row['low']:.3f} - {row['high']:.3f}"
            share = f"{row['right']:,} of {row['judged']:,}"
            rows.append([row["type"], row["source"], share, f"{row['precision']:.3f}", interval])
        head = ["type", "source", "judged right", "precision", "95% interval"]
        parts.append(f"Judged by people on a random sample:\n\n{_table(head, rows)}")
    parts += [review.sentence for review in facts.reviews]
    if not parts:
        parts.append("Nobody has judged a sample of the labels (`fld audit`).")
    for part, scores in (facts.truth or {}).items():
        rows = [[name, _number(value)] for name, value in scores.items()]
        table = _table(["score", "value"], rows)
        parts.append(f"Against truth, of {part.replace('_', ' ')} samples:\n\n{table}")
    return "\n\n".join(parts)


def _checks(facts: Facts, totals: Totals) -> str:
    checks = facts.checks
    settings = [f"{name} {value}" for name, value in checks.duplicates.items() if value != ""]
    lines = [f"Duplicates: sha256 and perceptual hash ({', '.join(settings)})."]
    for name, images in checks.evaluation.items():
        lines.append(f"Copies of the {images:,} images of the evaluation set `{name}`.")
    if checks.takedown:
        lines.append(
            f"Takedowns: {checks.takedown:,} entries, of which {checks.unmatched:,} fit no sample. "
            "Copies of the images that they name are left out, too."
        )
    lines += checked(facts.checks.safety, totals)
    return _list(lines)


def _removed(totals: Totals) -> str:
    rows = []
    for type_, reasons in totals["removed"].items():
        for reason, count in reasons.items():
            rows.append([type_, reason, f"{count:,}"])
    if not rows:
        return "Nothing of the round is left out."
    return f"Left out of the round:\n\n{_table(['type', 'reason', 'count'], rows)}"


def _licences(facts: Facts, totals: Totals) -> str:
    rows = []
    for source, terms in facts.sources.items():
        samples = totals["sources"].get(source, 0)
        rows.append([source, terms.licence, terms.url or "-", f"{samples:,}"])
    return _table(["source", "licence of the images", "from", SAMPLES], rows)


def _usage(facts: Facts, totals: Totals) -> str:
    tars = layout_release.files_of_split(layout_release.SHARDS, "train")
    checksums = layout_release.CHECKSUMS
    # Without the types, `datasets` takes them from the first five samples of a tar. It then refuses
    # tars with images of several formats, and values that are missing in these five.
    types = ['"__key__": datasets.Value("string")']
    types += [f'"{extension}": datasets.Image()' for extension in totals["formats"]]
    types.append('"json": datasets.Json()')
    return f"""```python
import datasets  # 4.7 or newer for `Json`

datasets.load_dataset("FOLDER", "{layout_release.OBJECTS}")  # boxes, categories and captions
datasets.load_dataset("FOLDER", "{layout_release.ANNOTATIONS}")  # one row an annotation
tars = {{"train": "FOLDER/{tars}"}}
types = datasets.Features({{{", ".join(types)}}})
datasets.load_dataset("webdataset", data_files=tars, features=types)
```

Boxes are x0, y0, x1, y1 in pixels of the stored image; masks are COCO run lengths. `fld release
verify FOLDER` checks every file, and so does `sha256sum -c {checksums}`. To have an image taken
down, write to the publisher of {facts.name}: the next version leaves it and its copies out."""


def _statistics(facts: Facts, totals: Totals) -> str:
    """The paper's tables, without the heading of the page that they usually stand on."""
    page = markdown(f"{facts.name} {facts.version}", totals["annotations"])
    _, _, tables = page.partition("\n\n")
    # What was dropped is told above; the statistics know only what is released.
    tables, _, _ = tables.partition("## Dropped")
    return tables.replace("## ", "### ").strip()


def _number(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"* {line}" for line in lines)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; bars within a cell are escaped."""
    lines = []
    for row in (head, ["---"] * len(head), *rows):
        cells = [cell.replace("|", "\\|") for cell in row]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def difference(said: str, expected: str) -> list[tuple[str, str]]:
    """Lines of the expected card that are not in another one: (expected, the most similar one).

    Lines that somebody has added are no difference, nor is how to read a release: that states
    nothing of it, and another version of this package may say it in another way.
    """
    import difflib

    before, _, after = expected.partition(USAGE)
    _, heading, behind = after.partition("\n## ")
    expected = before + heading + behind

    lines = said.splitlines()
    there = set(lines)
    found = []
    for line in expected.splitlines():
        if line and line not in there:
            near = difflib.get_close_matches(
                line,
                lines,
                n=1,
                cutoff=0.5,
            )
            found.append((line, near[0] if near else ""))
    return found
