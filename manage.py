#!/usr/bin/env python3
from localai_admin.cli import main

if __name__ == "__main__":
    main()
