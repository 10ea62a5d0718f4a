"""Frozen detectors: name -> class, loaded when asked for."""

DETECTORS = {
    "yolov3": "models.detectors.yolov3:YOLOv3",
    "ultralytics_heads": "models.detectors.ultralytics_heads:UltralyticsHeads",
    "mmdet_heads": "models.detectors.mmdet_heads:MMDetHeads",
}
