"""What a phantom data set holds: cases, scans, slices and organs, before any pixel is drawn."""
