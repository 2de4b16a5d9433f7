"""What may be shown of a value: its text, bounded and without secrets."""
