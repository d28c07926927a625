"""Broken and hostile input: each is refused by one message or read right, in 10 seconds and a gigabyte at most."""
