"""How a run starts and ends, and who is told."""
