"""SavedModel folders and frozen graphs: read, checked and flattened without TensorFlow."""
