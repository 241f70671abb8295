"""Reasons that pages know by name."""

BUSY = "The backend does not answer its health check; it is busy, or it hangs."
