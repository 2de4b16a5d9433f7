"""What happens inside a run: messages, artifacts, results, and the events made of them."""
