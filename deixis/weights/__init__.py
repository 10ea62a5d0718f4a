"""Published weights: what they are (cards), where they lie, whether they are the real ones, and what they have seen."""
