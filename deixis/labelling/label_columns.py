"""What every labels.parquet has, for stages that write labels once more."""

from deixis.labelling.label_table import BOX_COLUMNS

PROVENANCE_COLUMNS = ("teacher", "checkpoint_sha256", "config_sha256", "schema_version")
LABEL_COLUMNS = (*BOX_COLUMNS, "mask_source", "mask", "mask_quality", *PROVENANCE_COLUMNS)
