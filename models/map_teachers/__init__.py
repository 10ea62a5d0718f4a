"""Weakly supervised teachers that answer with response maps: name -> class, loaded when asked for."""

MAP_TEACHERS = {
    "tris": "models.map_teachers.tris:TRIS",
    "pcnet": "models.map_teachers.pcnet:PCNet",
}

READS = {"pcnet": ("proposals",)}  # lists of `run` whose outputs a teacher reads beside images
