"""What a command needs of the terminal: consoles, streams, Ctrl-C, the next command."""
