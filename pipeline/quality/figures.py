"""Pictures of statistics and of calibration curves, drawn by matplotlib as PNG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from pipeline.quality.histograms import ASPECT, BINS
from pipeline.quality.statistics import FIGURE, RoundStatistics

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

    from pipeline.quality.calibration import CurveRow

_TITLES = {"regions": "region-text", "triplets": "text-phrase-region"}
_DPI = 110


def figure5(statistics: RoundStatistics) -> bytes:
    """The paper's Figure 5: densities of box size and aspect ratio, heat maps of box centres.

    Args:
        statistics: what `Statistics.to_dict` returns.

    Returns:
        A PNG file.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 3.4), layout="constrained", dpi=_DPI)
    area, aspect, *heat = figure.subplots(1, 4)
    middles_of_bins = (np.arange(BINS) + 0.5) / BINS
    log_ratios = middles_of_bins * 2 * ASPECT - ASPECT
    for kind in FIGURE:
        densities = statistics["figure5"][kind]
        title = _TITLES[kind]
        area.plot(middles_of_bins, densities["area"], label=title)
        aspect.plot(log_ratios, densities["aspect"], label=title)
    area.set(title="(a) box size", xlabel="sqrt of normalised area", ylabel="density", xlim=(0, 1))
    aspect.set(title="(b) aspect ratio", xlabel="log (width / height)", xlim=(-ASPECT, ASPECT))
    area.legend(frameon=False)
    for axes, kind, letter in zip(heat, FIGURE, "cd", strict=True):
        shares = statistics["figure5"][kind]["centre"]
        heat_map = _heat_map(axes, shares)
        axes.set(
            title=f"({letter}) centres, {_TITLES[kind]}",
            xlabel="x",
            ylabel="y",
        )
    # Both heat maps have the same scale, so one bar serves both.
    figure.colorbar(heat_map, ax=heat, label="share")
    return _png(figure)


def calibration_curves(curves: Sequence[CurveRow], precision: float) -> bytes:
    """Precision and recall over the score threshold, a plot for each specialist.

    Args:
        curves: the curves of `calibration.summary`; those of single classes are left out.
        precision: the wanted precision, drawn as a dotted line.

    Returns:
        A PNG file.
    """
    from matplotlib.figure import Figure

    whole = [curve for curve in curves if curve["class"] is None]
    columns = max(len(whole), 1)
    figure = Figure(
        figsize=(4.2 * columns, 3.4),
        layout="constrained",
        dpi=_DPI,
    )
    all_axes = figure.subplots(1, columns, squeeze=False)[0]
    # Without any curve there is one empty plot.
    for axes, curve in zip(all_axes, whole, strict=False):
        _draw_curve(axes, curve)
        axes.axhline(precision, color="grey", linestyle=":")
        axes.legend(frameon=False)
    return _png(figure)


def _draw_curve(axes: Axes, curve: CurveRow) -> None:
    """Draw precision and recall of one specialist."""
    axes.step(curve["threshold"], curve["precision"], where="pre", label="precision")
    axes.step(curve["threshold"], curve["recall"], where="pre", label="recall")
    kind = curve["type"].replace("_", " ")
    axes.set(
        title=f"{curve['source']}: {kind}",
        xlabel="score threshold",
        xlim=(0, 1),
        ylim=(0, 1.02),
    )


def _heat_map(axes: Axes, shares: Sequence[Sequence[float]]) -> AxesImage:
    """Draw shares of a grid on a logarithmic scale; cells without a box stay white."""
    import matplotlib
    from matplotlib.colors import LogNorm

    values = np.array(shares)
    return axes.imshow(
        np.where(values > 0, values, np.nan),
        extent=(0, 1, 1, 0),
        norm=LogNorm(1e-4, 1e-2),
        cmap=matplotlib.colormaps["viridis"],
    )


def _png(figure: Figure) -> bytes:
    """The picture without the name of the software, so that equal data give equal bytes."""
    file = io.BytesIO()
    figure.savefig(
        file,
        format="png",
        metadata={"Software": None},
    )
    return file.getvalue()
