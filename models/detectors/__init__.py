"""Frozen detectors and their mask heads: name -> class, loaded when asked for."""

DETECTORS = {
    "yolov3": "models.detectors.yolov3:YOLOv3",
    "ultralytics_heads": "models.detectors.ultralytics_heads:UltralyticsHeads",
    "yolox": "models.detectors.yolox:YOLOX",
    "mmdet_heads": "models.detectors.mmdet_heads:MMDetHeads",
}

MASK_HEADS = {  # by the kind that the weights folder names
    "prototype_masks": "models.detectors.prototype_masks:PrototypeMasks",
    "ultralytics_heads": "models.detectors.ultralytics_heads:UltralyticsMasks",
}
