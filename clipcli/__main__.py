"""`python -m clipcli`, for where no script is on the path."""

from __future__ import annotations

from clipcli.app import main

if __name__ == "__main__":
    main()
