"""How trials share machines: slots, packing of GPUs, measured cost, the plan of a sweep."""
