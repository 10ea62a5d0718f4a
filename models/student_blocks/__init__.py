"""Parts that students share: heads, assignments, and how pictures and phrases come to them."""
