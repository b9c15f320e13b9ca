"""The supervised process that opens and runs models, and the channel to it."""

from actviz.worker.supervisor import DeadWorkerError, Numbers, Opening, Worker

__all__ = ["DeadWorkerError", "Numbers", "Opening", "Worker"]
