"""CSV files of Open Images: the rows of each image. Millions of rows are held as arrays."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from stages.remote import opened

if TYPE_CHECKING:
    import pyarrow as pa

IMAGE, CLASS = "ImageID", "LabelName"


@dataclass(frozen=True, slots=True)
class Row:
    """One row."""

    code: str
    """The code of the class."""
    numbers: tuple[float, ...]
    """The values of the columns that were asked for."""


@dataclass(slots=True)
class Rows:
    """The rows of a file, those of an image together, in the order of the file."""

    images: dict[str, int] = field(default_factory=dict)
    """The place of each image."""
    first: np.ndarray = field(default_factory=lambda: np.zeros(1, np.int64))
    """(images + 1,) int64: the first row of each image, and the number of rows."""
    codes: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))
    """(rows,) int32: places in `classes`."""
    numbers: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    """(rows, columns) float64: the values of the columns."""
    classes: list[str] = field(default_factory=list)
    """The codes of the classes."""

    def of(self, image: str) -> Iterator[Row]:
        """The rows of an image."""
        place = self.images.get(image)
        if place is None:
            return
        for row in range(self.first[place], self.first[place + 1]):
            numbers = tuple(float(number) for number in self.numbers[row])
            yield Row(self.classes[self.codes[row]], numbers)

    def has_any(self, images: Collection[str]) -> bool:
        """Whether a row is about one of these images."""
        return any(image in self.images for image in images)


def read_rows(where: str, url: str, columns: Sequence[str], optional: Sequence[str] = ()) -> Rows:
    """The rows of a CSV file.

    Args:
        where: names the file, for messages.
        url: any fsspec URL.
        columns: columns of numbers that are read.
        optional: columns of numbers that older files lack; these are then 0.

    Raises:
        ValueError: it cannot be read, lacks a column, or has something else than a number in one.
    """
    table = _read(where, url, columns, optional)
    images = table.column(IMAGE).combine_chunks().dictionary_encode()
    classes = table.column(CLASS).combine_chunks().dictionary_encode()
    places = images.indices.to_numpy()
    order = np.argsort(places, kind="stable")
    names = images.dictionary.to_pylist()
    numbers = []
    for name in (*columns, *optional):
        column = np.zeros(len(places))
        if name in table.column_names:
            column = table.column(name).to_numpy()
        numbers.append(column[order])
    return Rows(
        images={name: place for place, name in enumerate(names)},
        first=np.searchsorted(places[order], np.arange(len(names) + 1)),
        codes=classes.indices.to_numpy()[order].astype(np.int32),
        numbers=np.stack(numbers, axis=1),
        classes=classes.dictionary.to_pylist(),
    )


def _read(where: str, url: str, columns: Sequence[str], optional: Sequence[str]) -> pa.Table:
    import pyarrow as pa
    from pyarrow import csv

    types = {IMAGE: pa.string(), CLASS: pa.string()}
    types |= dict.fromkeys([*columns, *optional], pa.float64())
    # An ImageID may look like a number or like nothing at all.
    convert = csv.ConvertOptions(column_types=types, strings_can_be_null=False, null_values=[])
    try:
        with opened(url) as file:
            table = csv.read_csv(file, convert_options=convert)
    except FileNotFoundError:
        raise ValueError(f"{where}: no such file") from None
    except (OSError, pa.ArrowException) as error:
        raise ValueError(f"{where}: cannot be read ({' '.join(str(error).split())})") from None
    missing = [name for name in (IMAGE, CLASS, *columns) if name not in table.column_names]
    if missing:
        raise ValueError(
            f"{where}: no column {' or '.join(missing)}; its columns are "
            f"{', '.join(table.column_names[:10])}"
        )
    return table.select([name for name in types if name in table.column_names])
