"""From a teacher's scores to labels: the rules, location words, masks, confidence."""
