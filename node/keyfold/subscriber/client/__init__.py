"""keyfold-subscriber, on the subscriber's machine. Of Keyfold it imports only this, `protocol` and `errors`."""
