"""Published backbones of students: name -> class, loaded when asked for."""

BACKBONES = {"csp_darknet": "models.blocks.csp_darknet:CSPDarkNet"}
