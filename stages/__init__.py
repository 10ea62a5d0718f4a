"""One module per stage of the DVC graph, of the same name."""
