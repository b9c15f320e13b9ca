"""The supervised process that opens and runs models, and the channel to it."""

from actviz.worker.supervisor import Numbers, Opening, Worker

__all__ = ["Numbers", "Opening", "Worker"]
