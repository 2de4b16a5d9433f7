"""What a user writes: flows, tasks, and what is known of them before they run."""
