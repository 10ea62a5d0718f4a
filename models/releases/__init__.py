"""Trained models as their authors released them: name -> how the file is read, loaded when asked for."""

RELEASES = {
    "dvin": "models.releases.dvin:DVIN",
    "refclip": "models.releases.refclip:REFCLIP",
    "mcn": "models.releases.mcn:MCN",
    "simrec": "models.releases.simrec:SIMREC",
    "transvg": "models.releases.transvg:TRANSVG",
    "tris": "models.releases.tris:TRIS",
    "weakmcn": "models.releases.weakmcn:WEAKMCN",
}
