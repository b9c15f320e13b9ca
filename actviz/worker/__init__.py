"""The supervised process that opens and runs models, and the channel to it."""

from actviz.worker.client import Worker, WorkerCrashedError
from actviz.worker.messages import BatchStatistics, ModelOptions

__all__ = ["BatchStatistics", "ModelOptions", "Worker", "WorkerCrashedError"]
