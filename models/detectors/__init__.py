"""Frozen detectors: name -> class, loaded when asked for; and what reads each from weights that others published."""

DETECTORS = {
    "yolov3": "models.detectors.yolov3:YOLOv3",
    "ultralytics_heads": "models.detectors.ultralytics_heads:UltralyticsHeads",
    "mmdet_heads": "models.detectors.mmdet_heads:MMDetHeads",
}

PUBLISHED = {  # detector -> function from a file to the configuration and the tensors of that class
    "yolov3": "models.detectors.published_yolov3:read_published",
    "ultralytics_heads": "models.detectors.ultralytics_heads:read_published",
    "mmdet_heads": "models.detectors.mmdet_heads:read_published",
}
