"""What a WebDAV server really does: probe it, say it in plain words, decide whether Keyfold can store backups there."""
