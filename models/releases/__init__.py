"""Trained models as their authors released them: name -> how the file is read, loaded when asked for."""

RELEASES = {
    "refclip": "models.releases.refclip:REFCLIP",
}
