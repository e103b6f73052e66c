"""ftonnx: how accurate is a deployed ONNX network when its memory takes bit flips?"""
