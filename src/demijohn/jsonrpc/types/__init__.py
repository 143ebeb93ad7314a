"""What is said of methods (`methods`) and of their parameters (`params`) besides their type hints."""
