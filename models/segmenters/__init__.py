"""Promptable segmenters: name -> class, loaded when asked for."""

SEGMENTERS = {"small_sam": "models.segmenters.small_sam:SmallSAM"}
