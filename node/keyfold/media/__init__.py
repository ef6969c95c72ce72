"""Offline media: exceptional backups on a USB device in a vault, dead by day 180 (design §2.5)."""
