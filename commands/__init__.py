"""What a user types: one plain function per command."""
