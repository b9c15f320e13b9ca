"""The supervised process that opens and runs models, and the channel to it."""

from actviz.worker.client import BatchStatistics, ModelOptions, Worker, WorkerCrashedError

__all__ = ["BatchStatistics", "ModelOptions", "Worker", "WorkerCrashedError"]
