"""What networks learn from: one kind of labels per file, with its loss, its accuracy and its optimizer.

Knows torch and data sets; does not know epochs, files or int8.
"""
