"""Corrected labels as other tools hand them back: format -> reader, loaded when asked for."""

READERS = {
    "coco": "reviewing.returned.coco:read",
    "label-studio": "reviewing.returned.label_studio:read",
    "cvat": "reviewing.returned.cvat:read",
    "fiftyone": "reviewing.returned.fiftyone:read",
    "yolo": "reviewing.returned.yolo:read",
    "parquet": "reviewing.returned.parquet:read",
}
