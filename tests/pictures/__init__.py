"""Results as pictures: in terminals that a test plays, on pages, on sheets; and pictures of numbers."""
