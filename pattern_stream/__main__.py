"""`python -m pattern_stream` is `pattern-stream`."""

from pattern_stream.cli.main import main

if __name__ == "__main__":
    main()
