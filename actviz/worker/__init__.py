"""The supervised process that opens and runs models, and the channel to it."""

from actviz.worker.supervisor import Opening, Worker

__all__ = ["Opening", "Worker"]
