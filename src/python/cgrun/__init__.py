"""What the wheel of cgrun contains besides the program: a plugin for pytest."""
