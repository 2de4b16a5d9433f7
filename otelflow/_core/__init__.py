"""What a run is: flows, tasks, their runs, and what happens inside them."""
