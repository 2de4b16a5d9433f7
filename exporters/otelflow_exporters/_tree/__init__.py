"""How a trace is drawn as a tree."""
