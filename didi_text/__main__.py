"""`python -m didi_text` is `didi-text`."""

from didi_text.app import main

if __name__ == "__main__":
    main()
