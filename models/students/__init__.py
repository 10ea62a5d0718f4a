"""Ordinary referring-expression models that learn from labels: name -> class, loaded when asked for."""

STUDENTS = {
    "simrec": "models.students.simrec:SimREC",
    "transvg": "models.students.transvg:TransVG",
    "realgin": "models.students.realgin:RealGIN",
    "realgin_anchors": "models.students.realgin_anchors:RealGINAnchors",
    "mcn": "models.students.mcn:MCN",
    "tris": "models.students.tris:TRISSegmenter",
    "mattnet": "models.students.mattnet:MAttNet",
}
