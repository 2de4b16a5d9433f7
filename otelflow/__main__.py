"""``python -m otelflow`` does as ``otelflow``."""

from otelflow._cli import main

if __name__ == "__main__":
    main()
