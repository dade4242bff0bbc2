"""Errors that a person sees in one line, beside `ValueError` for what the user can change."""


class RunFailed(RuntimeError):
    """What was asked for could not be done, and no setting is at fault."""


class ShardsFailed(RunFailed):
    """Some shards could not be done, and no sample is at fault.

    Examples: the storage fails, a stage cannot load its model, or there is a bug.
    """


class ClusterFailed(RunFailed):
    """Ray does not start, or cannot be reached."""


class SamplesLost(RunFailed):
    """A stage's counts do not add up: in = kept + dropped + failed."""
