"""What this process knows: its settings, provider, losses, forks and workers."""
