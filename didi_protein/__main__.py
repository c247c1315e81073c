"""`python -m didi_protein` is `didi-protein`."""

from didi_protein.app import main

if __name__ == "__main__":
    main()
