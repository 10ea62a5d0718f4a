"""Trained models as their authors released them: name -> how the file is read, loaded when asked for."""

RELEASES = {
    "refclip": "models.releases.refclip:REFCLIP",
    "dvin": "models.releases.dvin:DVIN",
    "weakmcn": "models.releases.weakmcn:WEAKMCN",
    "simrec": "models.releases.simrec:SIMREC",
    "mcn": "models.releases.mcn:MCN",
    "transvg": "models.releases.transvg:TRANSVG",
    "tris": "models.releases.tris:TRIS",
    "tris_step2": "models.releases.tris_step2:TRIS_STEP2",
    "pcnet": "models.releases.pcnet:PCNET",
}
