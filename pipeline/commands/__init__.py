"""What each command reads, calls and prints. No logic lives here."""
