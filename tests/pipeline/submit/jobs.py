"""A job for tests: the demo on a work folder of an object store."""

from __future__ import annotations

import functools

from pipeline.config.compose import compose
from pipeline.config.parse import parse
from pipeline.submit.job import Job, job_of

STORE = "work=s3://bucket/labels"


@functools.cache
def job(*words: str) -> Job:
    values = compose([STORE, *words])
    return job_of(values, parse(values))
