"""Promptable segmenters: name -> class, loaded when asked for."""

SEGMENTERS = {
    "small_sam": "models.segmenters.small_sam:SmallSAM",
    "sam": "models.segmenters.sam:SAM",
    "mobile_sam": "models.segmenters.mobile_sam:MobileSAM",
    "efficient_sam": "models.segmenters.efficient_sam:EfficientSAM",
    "crop_masks": "models.segmenters.crop_masks:CropMasks",
}
