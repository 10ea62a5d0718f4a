"""The commands of the `deixis` console script, one module each."""
