"""Text and words: normalising, vocabularies, word pieces, location words."""
