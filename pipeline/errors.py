"""Errors that a person sees in one line, beside `ValueError` for what the user can change."""


class RunFailed(RuntimeError):
    """What was asked for could not be done, and no setting is at fault."""


class ShardsFailed(RunFailed):
    """Some shards could not be done, and no sample is the cause.

    The cause is the storage, a stage that cannot load, or a bug.
    """


class ClusterFailed(RunFailed):
    """Ray does not start, or cannot be reached."""


class WorkerFailed(RunFailed):
    """A training or a test failed in a worker: its code raised an error, or its process died."""


class SamplesLost(RunFailed):
    """A stage's counts do not add up: in = kept + dropped + failed."""


def last_line(error: BaseException) -> str:
    """Return the last line of an error's message: Ray's messages end with the error itself."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
