"""Errors of a whole run, which no sample and no setting is to blame for.

`pipeline.errors` has the kinds that only `pipeline/` knows. What is wrong with one sample is a
`SampleError`, and what the user can change a `StageError` (`stages.base`).
"""

from __future__ import annotations


class RunFailed(RuntimeError):
    """What was asked for could not be done, and no setting is known to be at fault."""


class StoreSilent(RunFailed):
    """A remote store has not answered for minutes.

    It is no `OSError`, because that would be taken for a fault of the file that was asked for.
    """
