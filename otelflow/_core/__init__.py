"""What is a run: flows, tasks, their runs, and what happens inside them."""
