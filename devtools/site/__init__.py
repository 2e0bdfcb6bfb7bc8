"""The site made of docs/: its reference is made from the code while it is built, so that the two can't part."""
