"""Croissant metadata of a release, with the responsible-AI fields.

Specification: Croissant 1.0 (mlcommons.org/croissant/1.0) and its RAI vocabulary 1.0. Files are
described as sets, because a release may have many thousands; `SHA256SUMS` has their checksums.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import TYPE_CHECKING, get_args, get_type_hints

from pipeline.release.card import LIMITS
from pipeline.release.facts import Facts
from pipeline.release.safety import checked, unchecked
from pipeline.release.statistics import Totals
from pipeline.release.tables import AnnotationRow, SampleRow
from pipeline.storage import layout_release
from pipeline.storage.json_types import Json

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

CONFORMS_TO = ("http://mlcommons.org/croissant/1.0", "http://mlcommons.org/croissant/RAI/1.0")
# The context that every Croissant file begins with, from the specification.
CONTEXT: Json = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
TYPES = {str: "sc:Text", int: "sc:Integer", float: "sc:Float"}
PARQUET, TAR = "application/x-parquet", "application/x-tar"
FILE_SETS = {
    layout_release.SHARDS: "WebDataset tars: images (unless they are references) and records.",
    layout_release.INDEX: "One row a sample: where it lies, its licence, its counts.",
    layout_release.ANNOTATIONS: "One row an annotation.",
    layout_release.OBJECTS: "One row a sample: boxes, categories and captions as lists.",
    layout_release.LINEAGE: "One row an annotation: the signals that it was made from.",
    layout_release.FLAGS: "One row a flag: personal data in a text, a blurred region.",
}


def croissant(facts: Facts, totals: Totals) -> Json:
    """The content of `croissant.json`."""
    metadata: Json = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": list(CONFORMS_TO),
        "name": facts.name,
        "alternateName": facts.title,
        "description": facts.description or facts.title,
        "version": facts.version,
        "citeAs": _bibtex(facts),
        "inLanguage": facts.language,
        "license": sorted({terms.licence for terms in facts.sources.values()}),
        "isLiveDataset": False,
        **_responsible(facts, totals),
        "distribution": list(_distribution()),
        "recordSet": [
            _record_set(layout_release.INDEX, SampleRow),
            _record_set(layout_release.ANNOTATIONS, AnnotationRow),
        ],
    }
    urls = sorted({terms.url for terms in facts.sources.values() if terms.url})
    if urls:
        metadata["isBasedOn"] = urls
    if facts.date:
        metadata["datePublished"] = facts.date
    return metadata


def _bibtex(facts: Facts) -> str:
    """The release as an entry of BibTeX."""
    fields_of_entry = f"title = {{{facts.title}}}, version = {{{facts.version}}}"
    return f"@misc{{{facts.name}, {fields_of_entry}}}"


def _responsible(facts: Facts, totals: Totals) -> Json:
    """The fields of the RAI vocabulary."""
    makers = {maker["model"] or maker["stage"] for maker in totals["makers"]}
    tools = [f"{name} ({facts.round})" for name in sorted(makers)]
    removed = [
        f"{count} {type_} left out: {reason}"
        for type_, reasons in totals["removed"].items()
        for reason, count in reasons.items()
    ]
    judged = [
        f"{row['type']} of {row['source']}: precision {row['precision']:.3f}, 95% interval "
        f"{row['low']:.3f} to {row['high']:.3f}, {row['judged']} judged by people"
        for row in facts.audit
    ]
    judged += [review.sentence for review in facts.reviews]
    images = totals["annotations"]["images"]
    annotations = totals["annotations"]["annotations"]["total"]
    return {
        "rai:dataCollection": f"Images of the sources {', '.join(sorted(facts.sources))}, "
        "labelled by specialist models, filters and rounds of training (Florence-2).",
        "rai:dataCollectionType": ["Secondary data analysis", "Others"],
        "rai:dataPreprocessingProtocol": [
            "Images with an EXIF orientation are stored upright; all others as they came, unless "
            "a check below says that they were blurred.",
            *removed,
        ],
        "rai:dataAnnotationProtocol": [
            "Round 0: specialists and filters. Later rounds: a model is trained on the labels and "
            f"annotates again. Released is {facts.round}."
        ],
        "rai:dataAnnotationAnalysis": judged or ["Nobody has judged a sample of the labels."],
        "rai:annotationsPerItem": f"{annotations / max(images, 1):.1f}",
        "rai:machineAnnotationTools": tools,
        "rai:dataLimitations": [*LIMITS, unchecked(facts.checks.safety)],
        "rai:dataUseCases": ["Training of vision-language models: detection, grounding, captions."],
        "rai:personalSensitiveInformation": _personal(facts, totals),
        "rai:dataReleaseMaintenancePlan": "A takedown makes a new version without the image and "
        "its copies; `fld release diff` lists what a version changed.",
    }


def _personal(facts: Facts, totals: Totals) -> list[str]:
    """What was looked for in images and texts."""
    return [*checked(facts.checks.safety, totals), "Images may show persons."]


def _distribution() -> Iterator[Json]:
    """The files of the release, as sets of one kind."""
    for part, description in FILE_SETS.items():
        yield {
            "@type": "cr:FileSet",
            "@id": part,
            "name": part,
            "description": description,
            "encodingFormat": TAR if part == layout_release.SHARDS else PARQUET,
            "includes": layout_release.files_of(part),
        }


def _record_set(part: str, row: type[DataclassInstance]) -> Json:
    """The rows of one kind of table; the columns are the fields of the class of its rows."""
    hints = get_type_hints(row)
    columns = []
    for column in fields(row):
        types = _types(hints[column.name])
        entry: Json = {
            "@type": "cr:Field",
            "@id": f"{part}/{column.name}",
            "name": column.name,
            "dataType": TYPES[types[-1]],
            "source": {"fileSet": {"@id": part}, "extract": {"column": column.name}},
        }
        if len(types) > 1:
            entry["repeated"] = True
        columns.append(entry)
    return {
        "@type": "cr:RecordSet",
        "@id": f"{part}_rows",
        "name": f"{part}_rows",
        "field": columns,
    }


def _types(hint: object) -> list[type]:
    """[list, T] for a column of lists of T, [T] for one of T; both may be None."""
    args = [part for part in get_args(hint) if part is not type(None)]
    if type(None) in get_args(hint):
        return _types(args[0])
    if args:
        return [list, *_types(args[0])]
    assert isinstance(hint, type)
    return [hint]
