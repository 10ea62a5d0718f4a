"""Labels as labelling tools and trainers take them: target -> writer, loaded when asked for."""

TARGETS = {
    "coco": "deixis.exports.coco:write",
    "label-studio": "deixis.exports.label_studio:write",
    "cvat": "deixis.exports.cvat:write",
    "fiftyone": "deixis.exports.fiftyone:write",
    "yolo": "deixis.exports.yolo:write",
    "parquet": "deixis.exports.parquet:write",
}
