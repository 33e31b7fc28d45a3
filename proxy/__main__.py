"""`python -m proxy` is the same program as `streamlane`."""

from proxy.cli import main

if __name__ == "__main__":
    main()
