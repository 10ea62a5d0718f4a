"""Parts that teachers of response maps share: pixels and phrases before they meet, and what is asked of a map."""
