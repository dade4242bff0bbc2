"""Errors that a person sees in one line, beside `ValueError` for what the user can change."""


class ShardsFailed(RuntimeError):
    """Some shards could not be done, for a reason that is no sample's: storage, a stage that cannot load, a bug."""
