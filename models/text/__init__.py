"""Published text encoders: name -> class, loaded when asked for."""

TEXTS = {
    "bert": "models.text.bert:BERT",
    "clip_image_text": "models.image_text.clip_image_text:CLIPImageText",
    "clip_text": "models.text.clip_text:CLIPText",
}
