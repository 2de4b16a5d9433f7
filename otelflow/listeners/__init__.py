"""Who hears about runs: one listener per file."""
