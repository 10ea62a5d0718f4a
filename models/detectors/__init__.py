"""Frozen detectors: name -> class, loaded when asked for."""

DETECTORS = {"yolov3": "models.detectors.yolov3:YOLOv3"}
