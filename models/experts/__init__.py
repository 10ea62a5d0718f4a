"""Frozen encoders that DViN routes over: name -> class, loaded when asked for."""

EXPERTS = {
    "contrastive_vit": "models.experts.contrastive_vit:ContrastiveViT",
    "distilled_vit": "models.experts.distilled_vit:DistilledViT",
    "segmentation_vit": "models.experts.segmentation_vit:SegmentationViT",
    "contrastive_convnet": "models.experts.contrastive_convnet:ContrastiveConvNet",
    "clip_vit": "models.experts.clip_vit:CLIPViT",
    "dinov2_vit": "models.experts.dinov2_vit:DINOv2ViT",
    "efficient_sam_vit": "models.experts.efficient_sam_vit:EfficientSAMViT",
    "clip_convnext": "models.experts.clip_convnext:CLIPConvNeXt",
}
