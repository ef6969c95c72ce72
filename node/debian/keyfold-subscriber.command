#!/usr/bin/python3 -I
import sys

sys.path.insert(0, "/usr/share/keyfold-subscriber")

from keyfold.subscriber.client.cli import main  # noqa: E402 - found only through the line above

sys.exit(main())
