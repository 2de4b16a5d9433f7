"""``python -m otelflow.cli`` does as ``otelflow``."""

from otelflow.cli import main

if __name__ == "__main__":
    main()
