"""Labels in front of people: what they decide, in a page or in other tools, and how it comes back."""
