"""What people ask of a finished run: which to take, which knob matters, how much more is needed."""
