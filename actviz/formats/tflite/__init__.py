"""`.tflite` files: what the converter left of a model, under the names of its layers."""
