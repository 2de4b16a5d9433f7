"""What does a user write: flows, tasks, and what is known of them before they run."""
