"""Pictures for people: organ colors, chart style, mask overlays, and the figures made of them.

Charts are matplotlib figures without pyplot, so that nothing global is touched and no window
system is needed; matplotlib is imported by the modules of this package alone.
"""
