"""The progress of a training run: a worker writes it to the journal, and the driver shows it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipeline.execution.progress import progress
from pipeline.storage import layout_journal
from pipeline.storage.json_types import Json
from pipeline.storage.store import Store
from stages.florence.config import TrainConfig

if TYPE_CHECKING:
    from tensorboardX import SummaryWriter

# The metrics of a step that become curves in TensorBoard.
CURVES = ("loss", "rate", "gradient_norm", "tokens")
# Seconds between two reports of progress.
REPORT_SECONDS = 2


def reporter(store: Store, config: TrainConfig) -> Callable[[Json], None]:
    """Make the function that reports the metrics of each step.

    Every step goes to TensorBoard if `config.tensorboard` is set. The journal gets the last step,
    and before it one step every few seconds.
    """
    started = time.time()
    written = 0.0
    board: SummaryWriter | None = None
    if config.tensorboard:
        from tensorboardX import SummaryWriter  # comes with ray[train]

        board = SummaryWriter(config.tensorboard, flush_secs=10)

    def report(metrics: Json) -> None:
        nonlocal written
        step = metrics["step"]
        is_last = step == config.steps
        if board:
            for name in CURVES:
                board.add_scalar(f"train/{name}", metrics[name], step)
            if is_last:
                board.close()
        if time.time() - written > REPORT_SECONDS or is_last:
            written = time.time()
            progress = {
                "title": "train",
                "done": step,
                "total": config.steps,
                "started": started,
                "now": written,
                "loss": metrics["loss"],
                "rate": metrics["rate"],
            }
            store.publish_json(layout_journal.PROGRESS, progress)

    return report


@contextmanager
def training_bar(store: Store, title: str, steps: int) -> Iterator[None]:
    """Show progress on standard error that follows what the first worker writes to the journal."""
    stop = threading.Event()
    store.remove(layout_journal.PROGRESS)

    def follow() -> None:
        with progress(title, "step", steps) as bar:
            while True:
                # The journal is read once more after the stop, so that the bar reaches its end.
                stopped = stop.wait(1.0)
                if store.exists(layout_journal.PROGRESS):
                    state = store.read_json(layout_journal.PROGRESS)
                    loss, rate = state["loss"], state["rate"]
                    shown = f"loss {loss:.3f}, learning rate {rate:.1e}"
                    bar.set_postfix_str(shown, refresh=False)
                    bar.update(state["done"] - bar.n)
                if stopped:
                    return

    thread = threading.Thread(target=follow, name="training-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
