"""Our towers written the way other projects read them."""
