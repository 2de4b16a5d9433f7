"""What may be shown of a value."""
