"""The contest's layout: the tree of images, their PNG headers, and the rows of ``train.csv``."""
