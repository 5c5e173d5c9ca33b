"""The library as a page in the browser: a small server for one person, on their own machine."""
