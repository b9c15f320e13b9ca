"""The supervised process that opens and runs models, and the channel to it."""

from actviz.worker.supervisor import Worker

__all__ = ["Worker"]
