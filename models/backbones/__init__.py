"""Published networks that trained models start from: name -> class, loaded when asked for."""

BACKBONES = {
    "clip_resnet": "models.backbones.clip_resnet:CLIPResNet",
    "csp_darknet": "models.blocks.csp_darknet:CSPDarkNet",
    "detr": "models.backbones.detr:DETR",
}
