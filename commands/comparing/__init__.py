"""Two commits' results side by side: reading, pairing, judging, and what a reviewer is shown."""
