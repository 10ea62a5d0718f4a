"""Weakly supervised teachers: name -> class, loaded when asked for."""

TEACHERS = {
    "refclip": "models.teachers.refclip:RefCLIP",
    "dvin": "models.teachers.dvin:DViN",
    "weakmcn": "models.teachers.weakmcn:WeakMCN",
    "zero_shot": "models.teachers.zero_shot:ZeroShot",
}

READS = {"weakmcn": ("box_masks",)}  # lists of `run` whose outputs a teacher reads beside features
