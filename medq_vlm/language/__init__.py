"""The language model's side: for now, where the base model's file is and whether it is whole."""
