"""What did a test's runs do? The parts behind ``otelflow.testing``."""
