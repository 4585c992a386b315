"""The flexible job shop: the classic benchmark beside the plant's own problem."""
