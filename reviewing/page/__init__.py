"""`deixis serve`: the page on which people try phrases and go through labels, and the JSON interface beside it."""
