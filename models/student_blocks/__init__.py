"""Parts that students share: heads, assignments, and how images and phrases come to them."""
