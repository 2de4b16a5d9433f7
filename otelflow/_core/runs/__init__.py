"""How does a run start and end, and who is told: drivers, the engine, spans, open runs and observers."""
