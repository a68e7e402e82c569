"""The chat app: a reading room for image quality. Thin Gradio wiring (ui.py) over plain functions."""
