"""What happens inside a run: messages, artifacts and results, the journal that keeps them, the events made of them."""
