"""What can go wrong in a step: each is told in one line, and the step exits non-zero."""

from __future__ import annotations


class WorkloadError(Exception):
    """The step cannot go on; the text says what would help."""


class SettingError(WorkloadError):
    """A setting of the step is missing or wrong."""


class BucketError(WorkloadError):
    """The bucket refused, or could not be reached."""


class MissingObjectError(BucketError):
    """Nothing stands in the bucket under that URL."""


class InaccurateError(WorkloadError):
    """The model is worse than what was asked for."""
