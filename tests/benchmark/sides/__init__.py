"""What is compared, each side in processes of its own: the engine, and what one would otherwise use."""
