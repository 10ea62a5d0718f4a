"""How models are trained from tables: what several stages and the claims share."""
