"""The engine behind every command that runs a model: work items, prefetch, batches, retries, output paths, drawing pool."""
