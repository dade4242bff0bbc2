"""The filters that undo what human labels did, for the commands that measure machines."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.quality.calibrated_round import Filters
    from pipeline.rows import Record


def filters_of(name: str, records: Sequence[Record]) -> Filters:
    """The filters of the run that made a round with human labels (`quality.machine_labels`).

    If there are no human labels, none are needed. If the settings of the run cannot be read any
    more, that is told, and there are none.
    """
    from pipeline.config import saved
    from pipeline.storage.rounds import open_round

    if not _have_human(records):
        return {}
    try:
        opened = open_round(name)
        return saved.load(opened.store, opened.folder).filters
    except (OSError, ValueError) as error:
        logging.getLogger("fld").warning(
            "predictions: what the filters dropped for human labels stays out, because the settings"
            " of the run cannot be read: %s",
            error,
        )
        return {}


def _have_human(records: Iterable[Record]) -> bool:
    for record in records:
        if any(annotation.locked for annotation in record.annotations.all()):
            return True
    return False
