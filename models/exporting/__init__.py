"""Trained students for others: ONNX graphs and model cards."""
