"""What does this process know: its settings, provider, losses, forks and workers, and what ends with it."""
