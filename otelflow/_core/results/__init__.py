"""What is kept of a value, so that another run or process has it again."""
